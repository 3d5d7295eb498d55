"""Beam search: the most probable text, as far as looking at a few at a time can find it.

Greedy choice takes the likeliest token, and may have to go on with an unlikely one. A search keeps
the ``num_beams`` most probable beginnings of a text, goes on with every token after each, keeps the
most probable of all these, and so on. With enough beams it tries everything.
"""

import math

from ..backend import dtypes, get_backend
from ..core import Tensor
from ..ops import tensor
from ..ops.check import whole_number
from .sampling import Rule, check_number, finite
from .texts import Stops, Texts

__all__ = ["beam_search"]

_host = get_backend("cpu").xp


def beam_search(
    model,
    ids,
    n: int,
    *,
    num_beams: int,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    stop=None,
    pad: int | None = None,
    cache: bool = True,
    **foreign,
) -> tuple[Tensor, Tensor]:
    """The text of up to ``n`` tokens after ``ids`` with the highest score, Σ ln p / length^penalty.

    A text ends with a stop token, or after n tokens. The search ends when no beam can become better
    than the best text found.

    Args:
        num_beams: how many beginnings to keep; 1 takes the likeliest token each time.
        length_penalty: 0 compares probabilities, which are higher for short texts; 1 the mean of
            their logarithms; more favours long texts.
        model, ids, n, repetition_penalty, stop, pad, cache: as for ``stream``.

    Shapes: ids (B, T) → tokens (B, m), m ≤ n, and scores (B,).
    Raises: as ``stream``; TypeError for options of ``stream`` that leave something to chance.
    Reference: Sutskever, Vinyals, Le, "Sequence to Sequence Learning with Neural Networks",
    arXiv:1409.3215; for the length Wu et al., "Google's Neural Machine Translation System",
    arXiv:1609.08144, §7.
    """
    for name in foreign:
        raise TypeError(
            f"beam_search: unknown argument {name!r}; a search leaves nothing to chance: its "
            "options are num_beams, length_penalty, repetition_penalty, stop, pad and cache"
        )
    k = whole_number("generate", "num_beams", num_beams)
    check_number("num_beams", k, "at least 1", lambda x: x >= 1)
    check_number("length_penalty", length_penalty, "finite", math.isfinite)
    rule, texts = Rule(repetition_penalty=repetition_penalty), Texts(model, ids)
    stops = Stops(stop, pad, model)
    found = _Found(texts.begin(n, cache=cache), n, length_penalty, stops.pad)
    if n:
        _search(texts, n, k, rule, stops, found)
    tokens = tensor(found.tokens[:, : found.ends.max()], device=texts.device)
    return tokens, tensor(found.scores, dtypes.float32, texts.device)


def _search(texts, n, k, rule, stops, found):
    """Keep k beginnings of each text, until none can become better than what was ``found``."""
    batch, logits = len(texts.ids), texts.expected()
    beams = _host.arange(batch)[:, None] * k  # where those of each prompt begin
    rows = _host.repeat(_host.arange(batch), k)
    texts.reorder(rows)
    logits, scores = logits[rows], _host.full((batch, k), -_host.inf)
    scores[:, 0] = 0  # in the beginning all beams of a prompt are one
    for length in range(1, n + 1):
        total = log_probabilities(rule.penalize(logits, texts))
        total = scores[:, :, None] + total.reshape(batch, k, -1)  # (B, k, V)
        ends = stops.tokens if length < n else _host.arange(total.shape[2])
        found.offer(total, ends, length)
        total[:, :, stops.tokens] = -_host.inf
        candidates = total.reshape(batch, -1)
        likeliest = _host.argsort(-candidates, axis=1, kind="stable")[:, :k]
        scores = _host.take_along_axis(candidates, likeliest, axis=1)
        if length == n or not found.may_improve(scores[:, 0], length):
            return
        parents, tokens = _host.divmod(likeliest, total.shape[2])
        texts.reorder((beams + parents).reshape(-1))
        texts.append(tokens.reshape(-1))
        logits = texts.expected()


class _Found:
    """The best text found so far after each prompt: its tokens, where it ends, and its score."""

    def __init__(self, texts, n, length_penalty, pad):
        batch = len(texts.ids)
        self._texts, self._prompts, self._n = texts, texts.lengths.copy(), n
        self._weigh = lambda score, length: score / length**length_penalty
        self.tokens = _host.full((batch, n), pad)
        self.ends = _host.zeros(batch, dtypes.int64)
        self.scores = _host.full(batch, -_host.inf)

    def offer(self, total, ends, length):
        """Texts of ``length`` that end with one of ``ends``; total (B, k, V) are the Σ ln p."""
        batch, k, _ = total.shape
        scores = self._weigh(total[:, :, ends].reshape(batch, -1), length)
        if not scores.size:
            return
        best = scores.argmax(axis=1)
        for i in (scores.max(axis=1) > self.scores).nonzero()[0]:
            beam, last = divmod(int(best[i]), len(ends))
            start = self._prompts[i]
            self.tokens[i, : length - 1] = self._texts.ids[i * k + beam, start : start + length - 1]
            self.tokens[i, length - 1] = ends[last]
            self.scores[i], self.ends[i] = scores[i, best[i]], length

    def may_improve(self, best, length):
        """Whether a beam could still win: of the longer texts, the next or the longest is best."""
        hopes = [self._weigh(best, longer) for longer in (length + 1, self._n)]
        return bool((_host.maximum(*hopes) > self.scores).any())


def log_probabilities(logits):
    """ln softmax, in float64."""
    x = logits.astype(dtypes.float64)
    x = finite(x) - x.max(axis=-1, keepdims=True)
    return x - _host.log(_host.exp(x).sum(axis=-1, keepdims=True))
