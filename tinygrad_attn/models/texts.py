"""Texts: what is written so far in each sequence of a batch, and what the model expects next."""

from ..backend import backend_of, dtypes, get_backend
from ..core import Tensor, no_grad
from ..core.scopes import context
from ..errors import DTypeError, ShapeError
from ..ops import arange, tensor
from ..ops.check import as_tensor, whole_number
from ..ops.fused.ids import check_ids

__all__ = ["Stops", "Texts", "evaluating"]

_host = get_backend("cpu").xp  # texts are kept where tokens are chosen


@context
def evaluating(model):
    """Every part of ``model`` in eval mode inside this context, and as it was afterwards."""
    were_training = [part for part in model.modules() if part.training]
    for part in were_training:
        part.training = False
    try:
        yield model
    finally:
        for part in were_training:
            part.training = True


class Texts:
    """The texts of a batch, of any lengths, and the model that is to continue them.

    Args:
        model: called as ``model(ids, cache=...)`` for logits (B, T, V), and with a ``key_mask``
            where the sequences differ in how much is to be read.
        prompts: whole numbers (B, T), or a list of sequences of any lengths.

    Attributes:
        ids: (B, longest so far and to come) on the host; those of text b are the first lengths[b].
        lengths: (B,), on the host.

    Raises: ShapeError for prompts of another shape, or empty ones; DTypeError for what are no whole
    numbers; IndexRangeError for a token outside the vocabulary.
    """

    def __init__(self, model, prompts):
        self.model = model
        if isinstance(prompts, (list, tuple)):
            self.device = next(iter(model.parameters())).device
            rows = [as_tensor(prompt, where="generate") for prompt in prompts]
            fits = rows and all(row.ndim == 1 and row.size for row in rows)
        else:
            rows = as_tensor(prompts, where="generate")
            self.device = rows.device
            fits = rows.ndim == 2 and rows.size
        self.shape = [tuple(row.shape) for row in rows] if type(rows) is list else rows.shape
        if not fits:
            raise ShapeError(
                f"generate: the prompt is {self.shape}; it must be (B, T), with at least one token "
                "in each row, or a list of sequences, none of them empty"
            )
        self.ids, self.lengths = _padded(rows)
        count = model.config.vocab_size
        check_ids("generate", "token", Tensor(self.ids), count, f"the model knows {count} tokens")

    def begin(self, n, *, cache=True, keep=None):
        """Make room for ``n`` tokens more, before the first is asked for.

        With ``cache`` the model keeps keys and values. When a context is full it begins anew with
        the last ``keep`` tokens.
        Raises: ShapeError where a context will be full and there is no ``keep``.
        """
        longest, length = self.model.config.longest, int(self.lengths.max())
        _check_count("n", n, 0)
        if keep is not None:
            _check_count("keep", keep, 1, longest)
        elif longest is not None and n > (most := max(longest - length + 1, 0)):
            raise ShapeError(  # the last token is only written
                f"generate: the prompt is {self.shape} and n is {n}, but the context has room for "
                f"{longest} tokens; n may be {most} at most, or keep=k goes on from the last k "
                "tokens"
            )
        self._keep = keep
        room = _host.zeros((len(self.ids), n), dtypes.int64)
        self.ids = _host.concatenate([self.ids, room], axis=1)
        self._starts = _host.zeros_like(self.lengths)  # of the context of each
        self._cache = self.model.new_cache(len(self.ids)) if cache else None
        return self

    def expected(self):
        """The logits (B, V) of what comes next in each text, on the host."""
        longest, read = self.model.config.longest, self._starts
        if longest is not None and (self.lengths - self._starts > longest).any():
            full = (self.lengths - self._starts > longest).nonzero()[0]
            self._starts[full] = self.lengths[full] - self._keep
            if self._cache is not None:
                self._cache.reset(full)
        if self._cache is not None:
            read = self._starts + self._cache.lengths
        news = self.lengths - read
        columns = read[:, None] + _host.arange(news.max())
        is_new = columns < self.lengths[:, None]
        ids = _host.take_along_axis(self.ids, _host.where(is_new, columns, 0), axis=1)
        options = {"cache": self._cache}
        if not is_new.all():
            options["key_mask"] = tensor(is_new, device=self.device)
        with evaluating(self.model), no_grad():
            logits = self.model(tensor(ids, device=self.device), **options)
            if is_new.all():
                logits = logits[:, -1]
            else:
                last = tensor(_host.maximum(news - 1, 0), device=self.device)
                logits = logits[arange(len(ids), device=self.device), last]
        return backend_of(logits.data).to_host(logits.data)

    def append(self, tokens, rows=None):
        """Write one of ``tokens`` (B,) behind each text, or behind those of ``rows`` only."""
        rows = _host.arange(len(self.ids)) if rows is None else rows
        self.ids[rows, self.lengths[rows]] = tokens[rows]
        self.lengths[rows] += 1

    def seen(self):
        """Which tokens each text has in it, (B, V)."""
        found = _host.zeros((len(self.ids), self.model.config.vocab_size), bool)
        rows, columns = (_host.arange(self.ids.shape[1]) < self.lengths[:, None]).nonzero()
        found[rows, self.ids[rows, columns]] = True
        return found

    def reorder(self, rows):
        """Let text i go on from text ``rows[i]``, of as many as there are ``rows``."""
        as_many = len(rows) == len(self.ids)
        self.ids, self.lengths = self.ids[rows], self.lengths[rows]
        self._starts = self._starts[rows]
        if self._cache is not None and as_many:
            self._cache.reorder(rows)
        elif self._cache is not None:
            self._cache = self._cache.select(rows)


class Stops:
    """The tokens after which a text is finished, and what stands behind it then.

    Raises: IndexRangeError for a token outside the vocabulary; DTypeError for no whole number.
    """

    def __init__(self, stop, pad, model):
        stop = [] if stop is None else stop if isinstance(stop, (list, tuple)) else [stop]
        stop = [whole_number("generate", "stop", token) for token in stop]
        self.tokens = _host.array(stop, dtypes.int64)
        count = model.config.vocab_size
        check_ids("generate", "stop", Tensor(self.tokens), count, f"the model knows {count} tokens")
        self.pad = whole_number("generate", "pad", [*stop, 0][0] if pad is None else pad)

    def stop(self, tokens):
        """Which of ``tokens`` do."""
        return _host.isin(tokens, self.tokens)

    def ends(self, written):
        """How long each row of tokens (B, m) is, up to and with the first that does; (B,)."""
        is_last = self.stop(written)
        earlier = _host.cumsum(is_last, axis=1) - is_last
        return (earlier == 0).sum(axis=1)


def _check_count(name, value, least, most=None):
    whole_number("generate", name, value)
    if value < least or (most is not None and value > most):
        domain = f"at least {least}" if most is None else f"in {least}..{most}"
        raise ShapeError(f"generate: {name} is {value}; it must be {domain}")


def _padded(rows):
    """Rows of whole numbers, of any lengths, as one array (B, longest) on the host, and these."""
    for row in [rows] if isinstance(rows, Tensor) else rows:
        if row.dtype.kind not in "iu":
            raise DTypeError(
                f"generate: the prompt is {row.dtype}; tokens are whole numbers: "
                'prompt.astype("int64")'
            )
    if isinstance(rows, Tensor):
        batch, length = rows.shape
        ids = backend_of(rows.data).to_host(rows.data).astype(dtypes.int64)
        return ids, _host.full(batch, length)
    lengths = _host.array([len(row) for row in rows])
    ids = _host.zeros((len(rows), lengths.max()), dtypes.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = backend_of(row.data).to_host(row.data)
    return ids, lengths
