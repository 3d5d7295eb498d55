"""Leak checkers: can a model see what it must not, the future or the padding?

A leak makes training look wonderful and the model useless, and nothing crashes. So it is looked for
in three ways:

- *other values*: where what must not be seen is changed, nothing that must not see it changes;
- *gradients*: nothing that must not see it has a gradient with respect to it;
- *NaN*: where it is poisoned, nothing that must not see it becomes NaN.

The first two prove a leak. The third alone proves that a number is multiplied by zero where it
should not have been touched: 0·NaN is NaN. Where something is found, the model runs again with
every layer watched, and the first whose result is touched although its inputs were clean is where
the leak comes in.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..backend import dtypes
from ..core import Tensor, enable_grad, grad, no_grad
from ..errors import DTypeError, ShapeError
from ..ops import Generator, absolute, arange, expand_dims, isnan, randint, randn, where, zeros_like
from ..ops.random import default_generator
from ..trees import is_module, tensors_in

__all__ = ["LeakReport", "check_causality", "check_padding"]

_TOLERANCE = 1e-5  # of the largest output: what rounding in another order may change


@dataclass
class LeakReport:
    """What was found; true where nothing leaks, and ``print(report)`` says the rest."""

    question: str
    probes: int = 0
    leaks: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def __bool__(self):
        return not self.leaks

    def __str__(self):
        verdict = "nothing leaks" if self else "LEAK"
        lines = [f"{self.question}: {verdict} ({self.probes} probes)"]
        lines += [f"  {leak}" for leak in self.leaks] + [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    __repr__ = __str__


def check_causality(model, tokens, *, targets=None, call=None, seed=0):
    """Prove that no output at t depends on any input after t. Returns a LeakReport, true if so.

    Args:
        model: a Module or function of ``tokens``; its first result is (B, T, ...).
        tokens: (B, T) ids, or (B, T, ...) floats.
        targets: (B, T) ids to predict at each position, to be checked too: a target that stands in
            the inputs up to its own position was shifted wrongly, and can be copied.
        call: how to call the model, if not as ``model(tokens)``.
        seed: for the values that are put in place of the hidden ones.

    Raises: ShapeError where the output has no (B, T) in front, or T < 2; DTypeError for other
    inputs.

    Example: a model that averages over all of its input, the future included.

        >>> import tinygrad_attn as ta
        >>> leaky = lambda x: x + x.mean(axis=1, keepdims=True)
        >>> report = ta.check_causality(leaky, ta.randn(1, 4, 2, generator=ta.Generator(0)))
        >>> bool(report)
        False
    """
    probe = _Probe("check_causality", model, tokens, call, seed)
    length = probe.tokens.shape[1]
    if length < 2:
        raise ShapeError(
            f"check_causality: tokens is {probe.tokens.shape}; a future needs T of 2 or more"
        )
    places = arange(length, device=probe.tokens.device)
    report = LeakReport(f"does an output at t depend on inputs after t, for t = 0..{length - 2}")
    for t in range(length - 1):
        hidden = expand_dims(places > t, 0)
        probe.look(report, hidden, f"outputs up to t = {t} depend on inputs after it")
    if targets is not None:
        _check_targets(report, probe.tokens, targets)
    return report


def check_padding(model, tokens, real, *, call=None, seed=0):
    """Prove that padding has no influence on the outputs at real tokens. Returns a LeakReport.

    Args:
        model: a Module or function whose first result is (B, T, ...).
        tokens: (B, T) ids, or (B, T, ...) floats.
        real: (B, T) booleans, True = a real token.
        call: how to call the model with tokens; by default ``model(tokens, key_mask=real)``.

    Raises: as ``check_causality``; ShapeError or DTypeError where ``real`` is not (B, T) booleans.
    """
    if real.dtype != dtypes.bool_ or tuple(real.shape) != tuple(tokens.shape[:2]):
        raise ShapeError(
            f"check_padding: real is {real.shape} {real.dtype}, tokens are {tokens.shape}; "
            "real must be booleans (B, T), True = a real token"
        )
    if call is None:

        def call(tokens):
            return model(tokens, key_mask=real)

    report = LeakReport("do outputs at real tokens depend on padding")
    _Probe("check_padding", model, tokens, call, seed).look(
        report, ~real, "real outputs depend on padding"
    )
    return report


class _Probe:
    """Runs a model on inputs in which some positions were changed, and compares the others."""

    def __init__(self, where, model, tokens, call, seed):
        if not isinstance(tokens, Tensor) or tokens.ndim < 2:
            raise DTypeError(f"{where}: tokens must be a tensor (B, T) or (B, T, ...)")
        self.where, self.model, self.tokens = where, model, tokens.detach()
        self.call = model if call is None else call
        self.layers = dict(model.named_modules()) if is_module(model) else {}
        self.random = default_generator().get_state()
        self.generator = Generator(seed)
        with no_grad():
            self.clean = self.run(self.tokens)
        if tuple(self.clean.shape[:2]) != tuple(self.tokens.shape[:2]):
            raise ShapeError(
                f"{where}: the output is {self.clean.shape}, the tokens are {self.tokens.shape}; "
                "the output must begin with the same (B, T)"
            )

    def run(self, tokens):
        """The model's first result; the same random numbers, dropout's for one, in every run."""
        default_generator().set_state(self.random)
        results = tensors_in(self.call(tokens))
        if not results:
            raise DTypeError(f"{self.where}: the model returns no tensor")
        return results[0]

    def look(self, report, hidden, what):
        """Probe with the positions ``hidden`` (B or 1, T), which no other position may depend
        on."""
        report.probes += 1
        with no_grad():
            changed = self.changed(hidden)
            moved = _touched(self.clean, self.run(changed), hidden)
            poisoned = self._is_poisoned(hidden)
        pulled = self._has_gradient(hidden)
        if moved or pulled:
            how = " and ".join(
                name for name, found in (("by value", moved), ("by gradient", pulled)) if found
            )
            with no_grad():
                report.leaks.append(
                    f"{what} ({how}); it comes in at {self.entrance(changed, hidden)}"
                )
        elif poisoned:
            report.notes.append(
                f"{what} where they are NaN, though no finite value gets through: 0·NaN"
            )

    def changed(self, hidden):
        """The tokens with other values at the hidden positions."""
        tokens = self.tokens
        mask = _over(hidden, tokens)
        if dtypes.is_float(tokens.dtype):
            noise = randn(
                tokens.shape, generator=self.generator, dtype=tokens.dtype, device=tokens.device
            )
            return where(mask, tokens + 1 + noise, tokens)
        count = max(int(tokens.max().item()) + 1, 1)
        step = randint(
            1, max(count, 2), tokens.shape, generator=self.generator, device=tokens.device
        )
        return where(mask, (tokens + step) % count, tokens)

    def _is_poisoned(self, hidden):
        """Whether NaN at the hidden positions reaches the others."""
        with self.replaced(lambda x: where(_over(hidden, x), math.nan, x)) as (tokens, reached):
            y = self.run(tokens)
        return bool(reached) and bool((isnan(y) & ~_over(hidden, y)).any())

    def _has_gradient(self, hidden):
        """Whether the other outputs have a gradient with respect to the hidden inputs."""
        with (
            enable_grad(),
            self.replaced(lambda x: x.detach().requires_grad_()) as (tokens, reached),
        ):
            y = self.run(tokens)
            if not reached or not y.requires_grad:
                return False
            g = randn(y.shape, generator=self.generator, dtype=y.dtype, device=y.device)
            seen = grad(y, reached[0], where(_over(hidden, y), 0, g), allow_unused=True)
        return seen is not None and bool(((seen != 0) & _over(hidden, seen)).any())

    @contextmanager
    def replaced(self, change):
        """Yields (tokens to call with, [the floats that ``change`` made]).

        Ids have no gradient and cannot be NaN: there the first floats that a layer makes of them,
        one vector a position, are changed instead.
        """
        if dtypes.is_float(self.tokens.dtype):
            x = change(self.tokens)
            yield x, [x]
            return
        reached = []

        def hook(layer, args, result):
            if not reached and _is_sequence(result, self.tokens) and dtypes.is_float(result.dtype):
                reached.append(change(result))
                return reached[0]
            return None

        removers = [layer.register_forward_hook(hook) for layer in self.layers.values()]
        try:
            yield self.tokens, reached
        finally:
            for remove in removers:
                remove()

    def entrance(self, changed, hidden):
        """The innermost layer whose result is touched though what went in was not."""
        clean, touched = self.trace(self.tokens), self.trace(changed)
        for (name, inputs, result), (_, other_inputs, other) in zip(clean, touched):
            dirty = [_touched(a, b, hidden) for a, b in zip(inputs, other_inputs)]
            if not any(dirty) and any(_touched(a, b, hidden) for a, b in zip(result, other)):
                return (
                    f"{name!r}, {type(self.layers[name]).__name__}"
                    if name
                    else "the model's own forward"
                )
        return "the model's own forward" if self.layers else "the function itself"

    def trace(self, tokens):
        """[(layer name, its inputs, its results)] in the order in which layers finish."""
        calls = []

        def watch(name):
            def hook(layer, args, result):
                calls.append((name, self._sequences(args), self._sequences(result)))

            return hook

        removers = [layer.register_forward_hook(watch(name)) for name, layer in self.layers.items()]
        try:
            self.run(tokens)
        finally:
            for remove in removers:
                remove()
        return calls

    def _sequences(self, tree):
        return [x for x in tensors_in(tree) if _is_sequence(x, self.tokens)]


def _is_sequence(x, tokens):
    return isinstance(x, Tensor) and tuple(x.shape[:2]) == tuple(tokens.shape[:2])


def _over(hidden, x):
    """A mask (B, T) stretched over the other axes of x."""
    return hidden.reshape(*hidden.shape, *(1,) * (x.ndim - 2))


def _touched(a, b, hidden):
    """Whether two results differ at a position that is not hidden, by more than rounding."""
    if tuple(a.shape) != tuple(b.shape):
        return True
    if not a.size:
        return False
    a, b = (x if dtypes.is_float(x.dtype) else x.astype(dtypes.float64) for x in (a, b))
    size = max(float(absolute(where(isnan(a), 0, a)).max().item()), 1e-30)
    apart = where(_over(hidden, a), zeros_like(a), absolute(a - b))
    return not bool((apart <= _TOLERANCE * size).all())


def _check_targets(report, tokens, targets):
    """A target that its own position has already seen can be copied instead of predicted."""
    if tuple(targets.shape) != tuple(tokens.shape):
        raise ShapeError(
            f"check_causality: targets is {targets.shape}, tokens are {tokens.shape}; "
            "the shapes must be equal"
        )
    for back in range(min(3, tokens.shape[1])):
        if bool((targets[:, back:] == tokens[:, : tokens.shape[1] - back]).all()):
            which = "its own input" if not back else f"the input {back} before it"
            report.leaks.append(
                f"the target at each t is {which}: targets must be inputs shifted ahead"
            )
