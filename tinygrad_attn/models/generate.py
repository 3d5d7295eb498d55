"""Writing with a model: choose a token, append it, ask again.

The model gives logits; which token they become is decided on the host, from one uniform random
number a token (``sampling``), or by looking for the most probable text (``beam``). So the same seed
writes the same text on every device, with a cache or without.
"""

import inspect
from collections.abc import Iterator
from difflib import get_close_matches

from ..backend import get_backend
from ..core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import Generator, concatenate, rand, tensor
from ..ops.check import as_tensor, whole_number
from .beam import beam_search
from .sampling import Rule
from .texts import Stops, Texts

__all__ = ["generate", "stream"]

_host = get_backend("cpu").xp


def generate(
    model, ids, n: int, *, num_beams: int | None = None, length_penalty=None, **options
) -> Tensor | list[Tensor]:
    """``ids`` followed by up to ``n`` tokens that the model writes after them.

    Args:
        model, ids, n: as for ``stream``.
        num_beams, length_penalty: not token by token, but the most probable text that a search
            with so many beams finds: see ``beam_search``, whose options the others are then.
        options: those of ``stream``.

    Shapes: ids (B, T) → (B, T + n), or less where every row has stopped before. A list of B prompts
    → a list of B tensors, each a prompt and what comes after it, up to its stop token.
    Raises: as ``stream``.

    Example:
        >>> import tinygrad_attn as ta
        >>> from tinygrad_attn.models import GPT, GPTConfig, generate
        >>> model = GPT(GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=2, n_embd=16))
        >>> generate(model, ta.tensor([[3, 1, 4]]), 5, temperature=0).shape
        (1, 8)
        >>> [text.shape for text in generate(model, [[3, 1, 4], [1]], 4, num_beams=3)]
        [(7,), (5,)]
    """
    if num_beams is not None:
        options["length_penalty"] = 1.0 if length_penalty is None else length_penalty
        written, _ = beam_search(model, ids, n, num_beams=num_beams, **options)
    elif length_penalty is not None:
        raise ShapeError(
            "generate: length_penalty is given without num_beams; only a search weighs whole texts"
        )
    else:
        _refuse_others("generate", options, stream, generate)
        columns = [token.reshape(-1, 1) for token in stream(model, ids, n, **options)]
        written = concatenate(columns, axis=1) if columns else None
    if not isinstance(ids, (list, tuple)):
        ids = as_tensor(ids, where="generate")
        return ids if written is None else concatenate([ids, written], axis=1)
    device = next(iter(model.parameters())).device
    prompts = [tensor(prompt, device=device) for prompt in ids]
    if written is None:
        return prompts
    ends = Stops(options.get("stop"), None, model).ends(written.numpy())
    return [concatenate([text, row[:end]]) for text, row, end in zip(prompts, written, ends)]


def stream(
    model,
    ids,
    n: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop=None,
    pad: int | None = None,
    seed=None,
    generator: Generator | None = None,
    cache: bool = True,
    keep: int | None = None,
    **foreign,
) -> Iterator[Tensor]:
    """The ``n`` tokens that the model writes after ``ids``, each as soon as it is chosen.

    Args:
        model: called as model(ids, cache=...) for logits (B, T, V), in eval mode and without
            gradients.
        ids: what is written already: whole numbers (B, T), T ≥ 1, or a list of B sequences of any
            lengths, each of which gets what it would get alone.
        n: how many tokens to write.
        temperature: 0 always takes the likeliest token; 1 follows the model; more is bolder.
        top_k: choose among the k likeliest tokens only.
        top_p: choose among the fewest likeliest tokens that together have at least this
            probability.
        min_p: choose among the tokens at least this times as probable as the likeliest.
        repetition_penalty: above 1, tokens that are in the text already become less likely.
        stop: a token, or several, after which a sequence is finished.
        pad: what stands behind that, the first of ``stop`` unless given.
        seed, generator: where chance comes from: a number, or a Generator that goes on; else the
            global one. It is drawn for the whole batch. With a list of seeds, one for each
            sequence, what is written after a prompt does not depend on what else is in the batch.
        cache: whether to keep keys and values; it changes the time, not the logits.
        keep: when the context is full, begin it anew with the last ``keep`` tokens. None: an error.

    Shapes: ids (B, T) → up to n times (B,): less than n where all have stopped before.
    Raises, before any work: ShapeError where the tokens will not fit into the context, a prompt is
    empty, or an option is outside its domain; IndexRangeError for a token outside the vocabulary;
    DTypeError for an option of the wrong type; TypeError for one that there is not. Later
    NonFiniteError where the model answers NaN.
    """
    _refuse_others("stream", foreign, stream)
    rule = Rule(temperature, top_k, top_p, min_p, repetition_penalty)
    texts = Texts(model, ids)
    stops = Stops(stop, pad, model)
    chance = _chance(seed, generator, len(texts.ids))
    return _write(texts.begin(n, cache=cache, keep=keep), n, rule, stops, chance)


def _refuse_others(where, options, *functions):
    """Raise TypeError for the first of ``options`` that none of the functions has by name."""
    signatures = [inspect.signature(function).parameters.values() for function in functions]
    known = [p.name for parameters in signatures for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"write {near[0]}=" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{where}: unknown argument {name!r}; {hint}")


def _write(texts, n, rule, stops, chance):
    """The loop of ``stream``: what is expected next, choose, append."""
    going = _host.arange(len(texts.ids))  # the texts that have not stopped
    for _ in range(n):
        token = _host.full(len(texts.ids), stops.pad)
        token[going] = rule.choose(texts.expected(), texts, chance)[going]
        texts.append(token, going)
        yield tensor(token, device=texts.device)
        going = going[~stops.stop(token[going])]
        if not going.size:
            return


def _chance(seed, generator, batch):
    """A function that draws one number in 0..1 for each of ``batch`` sequences."""
    if seed is not None and generator is not None:
        raise DTypeError("generate: seed and generator are both given; give one of them")
    if not isinstance(generator, (Generator, type(None))):
        raise DTypeError(f"generate: generator is {generator!r}; it must be a ta.Generator")
    if not isinstance(seed, (list, tuple)):
        generator = generator if seed is None else Generator(seed)
        return lambda: rand(batch, generator=generator, dtype="float64").numpy()
    if len(seed) != batch:
        raise ShapeError(
            f"generate: there are {len(seed)} seeds for {batch} sequences; give one for each"
        )
    own = [Generator(whole_number("generate", "a seed", one)) for one in seed]
    return lambda: concatenate([rand(1, generator=one, dtype="float64") for one in own]).numpy()
