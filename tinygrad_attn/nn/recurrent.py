"""RNN, LSTM, GRU: one step after another, each with a state that remembers the steps before.

What attention does at once, looking back, these do by carrying along. Everything that step t shall
know of step 0 has to survive t updates of one vector, and no step can begin before the last has
ended. The gates of LSTM and GRU let the vector pass unchanged where they are shut, and with it the
gradient; that is what made long sequences possible before attention.

Every layer is a plain loop over time. What does not depend on the state, the map of the inputs, is
done for all steps in one product before the loop begins.
"""

import math

from ..core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import (
    arange,
    concatenate,
    dropout,
    linear,
    relu,
    sigmoid,
    split,
    stack,
    tanh,
    unstack,
    where,
    zeros,
)
from ..ops.check import as_float, as_tensor
from . import init
from .check import check_batch_first, check_probability, check_sizes
from .module import Module
from .parameter import Parameter

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """What the three have in common: layers, directions, lengths. Each adds the step it takes."""

    gates = 1
    """How many maps of width H a step needs."""

    memories = 1
    """How many tensors make up the state. The first of them is the output."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        generator=None,
    ):
        here = type(self).__name__
        check_batch_first(here, batch_first)
        check_sizes(here, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_probability(here, dropout)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional = bias, dropout, bidirectional
        rows, directions = self.gates * hidden_size, 2 if bidirectional else 1
        for layer in range(num_layers):
            width = input_size if layer == 0 else directions * hidden_size
            for end in self._ends(layer):
                setattr(self, f"weight_ih_{end}", Parameter(zeros((rows, width))))
                setattr(self, f"weight_hh_{end}", Parameter(zeros((rows, hidden_size))))
                if bias:
                    setattr(self, f"bias_ih_{end}", Parameter(zeros(rows)))
                    setattr(self, f"bias_hh_{end}", Parameter(zeros(rows)))
        self.reset_parameters(generator)

    def _ends(self, layer):
        """How the names of the parameters end, for each direction of a layer."""
        return (f"l{layer}", f"l{layer}_reverse") if self.bidirectional else (f"l{layer}",)

    def reset_parameters(self, generator=None):
        """Draw all weights and biases anew from U(−1/√H, 1/√H)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound, generator)

    def _step(self, x, h, *memory):
        """The state after ``memory``; x and h are the maps, gates·H wide, of input and output."""
        raise NotImplementedError(f"{type(self).__name__} has no _step()")

    def forward(self, x: Tensor, state=None, lengths: Tensor | None = None):
        """Run through sequences, each from its own state.

        Args:
            x: the sequences (B, T, input_size).
            state: the first state, of the shape of the last; zeros unless given.
            lengths: (B,) how many steps of each sequence are real. What comes after has no
                influence: the last state is that of the last real step, the reverse direction
                begins there, and outputs are 0 beyond.

        Returns: the outputs (B, T, directions·H) of the last layer, and the last state of all.
        """
        x = self._checked(x)
        starts = self._starts(x, state)
        real = None if lengths is None else self._real(lengths, x)
        x = x if real is None else where(real[..., None], x, 0)
        last = []
        for layer in range(self.num_layers):
            x = dropout(x, self.dropout, training=self.training) if layer else x
            outputs = []
            for end in self._ends(layer):
                y, memory = self._read(x, end, starts[len(last)], real)
                outputs.append(y)
                last.append(memory)
            x = concatenate(outputs, axis=-1)
        state = tuple(stack(parts) for parts in zip(*last))
        return x, state if self.memories > 1 else state[0]

    def _read(self, x, end, memory, real):
        """One layer in one direction: the outputs of all steps, and the state after the last."""
        weight, bias = getattr(self, f"weight_hh_{end}"), getattr(self, f"bias_hh_{end}", None)
        mapped = linear(x, getattr(self, f"weight_ih_{end}"), getattr(self, f"bias_ih_{end}", None))
        steps = list(enumerate(_steps(mapped)))
        outputs = [None] * len(steps)
        for t, step in reversed(steps) if end.endswith("reverse") else steps:
            after = self._step(step, linear(memory[0], weight, bias), *memory)
            outputs[t] = after[0]
            if real is not None:
                is_real = real[:, t, None]
                after = [where(is_real, new, old) for new, old in zip(after, memory)]
            memory = after
        y = stack(outputs, axis=1)
        return (y if real is None else where(real[..., None], y, 0)), memory

    def _starts(self, x, state):
        """The first state, as a list over layers and directions of its tensors (B, H)."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        shape = (count, x.shape[0], self.hidden_size)
        if state is None:
            start = zeros(shape[1:], dtype=self.weight_hh_l0.dtype, device=x.device)
            return [(start,) * self.memories] * count
        parts = (state,) if self.memories == 1 else state
        if not isinstance(parts, (tuple, list)) or len(parts) != self.memories:
            given = type(state).__name__
            raise DTypeError(f"{type(self).__name__}: state is a {given}; it must be a pair (h, c)")
        parts = [as_tensor(part, x, where=type(self).__name__) for part in parts]
        for part in parts:
            if part.shape != shape:
                raise ShapeError(
                    f"{type(self).__name__}: state is {part.shape}, x is {x.shape}; it must be "
                    f"(layers · directions, batch, hidden_size) = {shape}"
                )
        return list(zip(*map(unstack, parts)))

    def _real(self, lengths, x):
        """Which steps are real, (B, T)."""
        lengths = as_tensor(lengths, x, where=type(self).__name__)
        if lengths.dtype.kind not in "iu":
            raise DTypeError(
                f"{type(self).__name__}: lengths are {lengths.dtype}; they must be whole numbers"
            )
        batch, length = x.shape[:2]
        if lengths.shape != (batch,) or any(not 0 <= n <= length for n in lengths.tolist()):
            raise ShapeError(
                f"{type(self).__name__}: lengths are {lengths.tolist()}, x is {x.shape}; there "
                f"must be {batch} of them, each in 0..{length}"
            )
        return arange(length, device=lengths.device) < lengths[:, None]

    def _checked(self, x):
        x = as_float(x, where=type(self).__name__)
        if x.ndim != 3 or x.shape[-1] != self.input_size or not x.shape[1]:
            raise ShapeError(
                f"{type(self).__name__}: x is {x.shape}; it must be (batch, length, "
                f"{self.input_size}), at least one step long"
            )
        return x

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "nonlinearity": "tanh", "bias": True, "dropout": 0.0}
        for name, default in {**defaults, "bidirectional": False}.items():
            if getattr(self, name, default) != default:
                parts.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(parts)


def _steps(x):
    """The steps x[:, t] as a list, found by halving.

    Each cut passes back a gradient of the size of what it was cut from. T steps cut out of the
    whole would pass back T wholes; cut by halves they pass back log₂ T.
    """
    length = x.shape[1]
    if length < 2:
        return [x[:, t] for t in range(length)]
    return _steps(x[:, : length // 2]) + _steps(x[:, length // 2 :])


class RNN(_Recurrent):
    """Elman's network  hₜ = tanh(W·xₜ + b + U·hₜ₋₁ + d).

    Args:
        input_size: the width of the inputs.
        hidden_size: the width of the state, H.
        num_layers: how many, each reading the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b and d.
        batch_first: True, the only layout there is; for code that spells it out.
        dropout: the probability with which outputs are dropped between layers, in training.
        bidirectional: whether each layer also reads backwards; the outputs stand side by side.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: for layer k ``weight_ih_lk`` (H, in), W; ``weight_hh_lk`` (H, H), U; ``bias_ih_lk``
    and ``bias_hh_lk`` (H,), b and d; those of the reverse direction end in ``_reverse``. All start
    from U(−1/√H, 1/√H).
    Shapes: x (B, T, in), state (layers · directions, B, H) → (B, T, directions·H), state.
    Raises: ShapeError for sizes, states or lengths that do not fit; DTypeError for lengths that are
    no whole numbers.
    Reference: Elman, "Finding Structure in Time", Cognitive Science 14 (1990).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        generator=None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise DTypeError(f'RNN: nonlinearity is {nonlinearity!r}; it must be "tanh" or "relu"')
        self.nonlinearity = nonlinearity
        shared = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *shared, generator=generator)

    def _step(self, x, h, memory):
        return ((tanh if self.nonlinearity == "tanh" else relu)(x + h),)


class LSTM(_Recurrent):
    """Long short-term memory  cₜ = f∘cₜ₋₁ + i∘g,  hₜ = o∘tanh(cₜ).

    i, f, o = σ(W·xₜ + b + U·hₜ₋₁ + d), each with its own rows of W, U, b and d, say what enters the
    memory c, what stays in it, and what of it is shown; g = tanh(…) is what would enter. Where f is
    1 and i is 0 the memory, and the gradient with it, passes through a step as it is.

    Arguments as for RNN, without ``nonlinearity``.

    Parameters: as in RNN, with 4·H rows: those of i, f, g, o.
    Shapes: x (B, T, in), state (h, c), each (layers · directions, B, H) → (B, T, directions·H),
    (h, c).
    Raises: as RNN; DTypeError for a state that is no pair.
    Reference: Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997); Gers,
    Schmidhuber, Cummins, "Learning to Forget", Neural Computation 12 (2000).

    Example:
        >>> import tinygrad_attn as ta
        >>> lstm = ta.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
        >>> y, (h, c) = lstm(ta.randn(2, 5, 3), lengths=[5, 2])
        >>> y.shape, h.shape
        ((2, 5, 8), (4, 2, 4))
        >>> bool((y[1, 2:] == 0).all())
        True
    """

    gates, memories = 4, 2

    def _step(self, x, h, _, c):
        i, f, g, o = split(x + h, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRU(_Recurrent):
    """Gated recurrent unit  hₜ = (1 − z)∘n + z∘hₜ₋₁,  n = tanh(W·xₜ + b + r∘(U·hₜ₋₁ + d)).

    r, z = σ(W·xₜ + b + U·hₜ₋₁ + d), each with its own rows of W, U, b and d: r says what of the
    state the new one is made from, z how much of the old one stays.

    Arguments as for RNN, without ``nonlinearity``.

    Parameters: as in RNN, with 3·H rows: those of r, z, n.
    Shapes and errors: as RNN.
    Reference: Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder",
    arXiv:1406.1078; with r applied after U, as in PyTorch.
    """

    gates = 3

    def _step(self, x, h, memory):
        (xr, xz, xn), (hr, hz, hn) = split(x, 3, axis=-1), split(h, 3, axis=-1)
        z = sigmoid(xz + hz)
        n = tanh(xn + sigmoid(xr + hr) * hn)
        return (n + z * (memory - n),)
