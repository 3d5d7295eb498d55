"""Writing with a model: choose a token, append it, ask again.

The model gives logits; which token they become is decided here, on the host, from one uniform
random number a token. So the same seed writes the same text on every device, with a cache or
without.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ..backend import backend_of, namespace, quiet
from ..core import Tensor, no_grad
from ..errors import DTypeError, NonFiniteError, ShapeError
from ..ops import Generator, concatenate, rand, stack, tensor
from ..ops.check import as_tensor, whole_number

__all__ = ["choose", "evaluating", "generate", "stream"]


def generate(model, ids: Tensor, n: int, **options) -> Tensor:
    """``ids`` followed by ``n`` tokens that the model writes after them.

    Options: those of ``stream``.

    Shapes: ids (B, T) → (B, T + n).
    Raises: as ``stream``.

    Example:
        >>> import tinygrad_attn as ta
        >>> from tinygrad_attn.models import GPT, GPTConfig, generate
        >>> model = GPT(GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=2, n_embd=16))
        >>> generate(model, ta.tensor([[3, 1, 4]]), 5, temperature=0).shape
        (1, 8)
    """
    ids = as_tensor(ids)
    written = list(stream(model, ids, n, **options))
    return concatenate([ids, stack(written, axis=1)], axis=1) if written else ids


def stream(
    model,
    ids: Tensor,
    n: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    generator: Generator | None = None,
    cache: bool = True,
    keep: int | None = None,
) -> Iterator[Tensor]:
    """The ``n`` tokens that the model writes after ``ids``, each as soon as it is chosen.

    Args:
        model: called as model(ids, cache=...) for logits (B, T, V), in eval mode and without
            gradients.
        ids: what is written already, whole numbers (B, T), T ≥ 1.
        n: how many tokens to write.
        temperature: 0 always takes the likeliest token; 1 follows the model; more is bolder.
        top_k: choose among the k likeliest tokens only.
        top_p: choose among the fewest likeliest tokens that together have at least this
            probability.
        seed, generator: where chance comes from: a number, or a Generator that goes on; else the
            global one.
        cache: whether to keep keys and values; it changes the time, not the logits.
        keep: when the context is full, begin it anew with the last ``keep`` tokens. None: an error.

    Shapes: ids (B, T) → n times (B,).
    Raises: ShapeError, before any work, where the tokens will not fit into the context, the prompt
    is empty, or an option is outside its domain; NonFiniteError where the model answers NaN.
    """
    ids = as_tensor(ids)
    _check(ids, n, temperature, top_k, top_p, keep, model.config.block_size)
    if seed is not None:
        if generator is not None:
            raise DTypeError("generate: seed and generator are both given; give one of them")
        generator = Generator(seed)
    past = model.new_cache(ids.shape[0]) if cache else None
    rule = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    return _write(model, ids, n, rule, generator, past, keep)


def _write(model, context, n, rule, generator, past, keep):
    """The loop of ``stream``: read what is unread, choose, append."""
    for _ in range(n):
        if context.shape[1] > model.config.block_size:
            context = context[:, -keep:]
            if past is not None:
                past.reset()
        unread = context if past is None else context[:, past.length :]
        with evaluating(model), no_grad():
            logits = model(unread, cache=past)[:, -1]
        uniform = None  # greedy choice takes no chances
        if rule["temperature"]:
            uniform = rand(len(context), generator=generator, dtype="float64").numpy()
        token = tensor(choose(_host(logits), uniform, **rule), device=context.device)
        context = concatenate([context, token.reshape(-1, 1)], axis=1)
        yield token


@quiet
def choose(logits, uniform, *, temperature=1.0, top_k=None, top_p=None):
    """One token for each row of logits, on raw host arrays: (B, V) logits, (B,) in 0..1 → (B,) ids.

    The tokens stand in order of their probability, each as a stretch of that length, and
    ``uniform`` points into the line: it is in a stretch with that token's probability.
    """
    xp = namespace(logits)
    if not xp.isfinite(xp.max(logits, axis=-1)).all():
        raise NonFiniteError(
            "generate: the largest logit is NaN or infinite; look at the weights of the model"
        )
    if temperature == 0:
        return xp.argmax(logits, axis=-1)
    likeliest = xp.argsort(-logits, axis=-1, kind="stable")
    scores = xp.take_along_axis(logits, likeliest, axis=-1).astype(xp.float64)
    p = xp.exp((scores - scores[:, :1]) / temperature)
    if top_k is not None:
        p[:, top_k:] = 0
    if top_p is not None:
        before = xp.cumsum(p, axis=-1) - p
        p[before >= top_p * p.sum(axis=-1, keepdims=True)] = 0
    ends = xp.cumsum(p, axis=-1)
    place = (ends <= uniform[:, None] * ends[:, -1:]).sum(axis=-1, keepdims=True)
    return xp.take_along_axis(likeliest, place, axis=-1)[:, 0]


@contextmanager
def evaluating(model):
    """Every part of ``model`` in eval mode inside this context, and as it was afterwards."""
    were_training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield model
    finally:
        for part in were_training:
            part.training = True


def _host(logits):
    return backend_of(logits.data).to_host(logits.data)


def _check(ids, n, temperature, top_k, top_p, keep, size):
    if ids.ndim != 2 or not ids.size:
        raise ShapeError(
            f"generate: the prompt is {tuple(ids.shape)}; it must be (B, T), with at least one "
            "token in each row"
        )
    for name, value in (("n", n), ("top_k", top_k), ("keep", keep)):
        if value is not None:
            whole_number("generate", name, value)
    rules = (
        ("n", n, n >= 0, "at least 0"),
        ("temperature", temperature, 0 <= temperature < float("inf"), "at least 0"),
        ("top_k", top_k, top_k is None or top_k >= 1, "at least 1"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "above 0 and at most 1"),
        ("keep", keep, keep is None or 1 <= keep <= size, f"in 1..{size}"),
    )
    for name, value, holds, domain in rules:
        if not holds:
            raise ShapeError(f"generate: {name} is {value}; it must be {domain}")
    most = max(size - ids.shape[1] + 1, 0)  # the last token is only written
    if keep is None and n > most:
        raise ShapeError(
            f"generate: the prompt is {tuple(ids.shape)} and n is {n}, but the context has room "
            f"for {size} tokens: n may be {most} at most, or keep=k goes on from the last k tokens"
        )
