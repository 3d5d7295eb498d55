"""Adam: each parameter's own step, from running means of its gradient and of the square of it."""

import math
from collections.abc import Iterable

from ..backend import backend_of, namespace, on_device_of
from ..core import Tensor
from ..core.graph import owner
from ..errors import DTypeError, ShapeError
from .optimizer import Optimizer, check_numbers

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam  p ← p − lr·m̂/(√v̂ + eps)  with running means  m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g².

    g is ∂L/∂p + weight_decay·p. m̂ = m/(1−β₁ᵗ) and v̂ = v/(1−β₂ᵗ) make up for the zeros that m and
    v start from; t counts the steps of each parameter. A step is about lr long, however large the
    gradient is.

    Args:
        params: parameters, or groups of them; see Optimizer.
        lr: the learning rate.
        betas: (β₁, β₂), how much the running means keep.
        eps: keeps a gradient that was always 0 from being divided by 0.
        weight_decay: the pull towards 0, added to the gradient; AdamW does that better.

    Raises: ShapeError for negative numbers, or betas outside 0..1.
    Reference: Kingma, Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980.
    """

    is_decoupled = False
    """Whether the weights decay by themselves, beside the step, and not through the gradient."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _check_options(self, where, lr, betas, eps, weight_decay):
        check_numbers(where, lr=lr, eps=eps, weight_decay=weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise DTypeError(f"{where}: betas is {betas!r}; it must be two numbers")
        for beta in betas:
            check_numbers(where, beta=beta)
            if not beta < 1:
                raise ShapeError(f"{where}: betas are {betas}; each must be in 0..1, 1 excluded")

    def _update_all(self, ready):
        """Take the step of all parameters that are as far as each other at once."""
        runs = {}  # what the members of a run have in common -> [(number, p, g)]
        for i, group, p, g in ready:
            done = self.state[i]["step"] if i in self.state else 0
            key = id(group), done, backend_of(g).device_of(g), g.dtype
            runs.setdefault(key, (group, []))[1].append((i, p, g))
        for (_, done, *_), (group, run) in runs.items():
            numbers, ps, gs = zip(*run)
            with on_device_of(gs[0]):
                m, v = self._means(numbers, gs)
                beta1, beta2 = map(float, group["betas"])
                advance = backend_of(m).kernels.get("adam", adam_step)
                advance(
                    ps,
                    gs,
                    m,
                    v,
                    step=done + 1,
                    lr=float(group["lr"]),
                    beta1=beta1,
                    beta2=beta2,
                    eps=float(group["eps"]),
                    decay=float(group["weight_decay"]),
                    is_decoupled=self.is_decoupled,
                )
            for i in numbers:
                self.state[i]["step"] = done + 1

    def _means(self, numbers, gs):
        """The running means of some parameters: the rows of one array, each parameter in turn.

        What ``state`` holds of each are views of it. It is laid out anew when other parameters take
        the step together than last time, or the state was loaded.
        """
        states = [self.state.setdefault(i, {"step": 0}) for i in numbers]
        size = sum(g.size for g in gs)
        owners = [owner(state["exp_avg"]) if "exp_avg" in state else None for state in states]
        first = owners[0]
        if all(flat is first for flat in owners) and getattr(first, "shape", None) == (2, size):
            return first
        flat = namespace(gs[0]).zeros((2, size), dtype=gs[0].dtype)
        start = 0
        for state, g in zip(states, gs):
            for row, name in zip(flat, ("exp_avg", "exp_avg_sq")):
                view = row[start : start + g.size].reshape(g.shape)
                if name in state:
                    view[...] = state[name]
                state[name] = view
            start += g.size
        return flat


def adam_step(ps, gs, m, v, *, step, lr, beta1, beta2, eps, decay, is_decoupled):
    """One step of Adam in place, on arrays; ``m`` and ``v`` hold the means of all ``ps`` in turn.

    A backend may own a faster form under the name "adam".
    """
    start = 0
    for p, g in zip(ps, gs):
        mean, square = (x[start : start + p.size].reshape(p.shape) for x in (m, v))
        start += p.size
        if decay and not is_decoupled:
            g = g + decay * p
        mean *= beta1
        mean += (1 - beta1) * g
        square *= beta2
        square += (1 - beta2) * g * g
        spread = namespace(square).sqrt(square)
        spread /= math.sqrt(1 - beta2**step)
        spread += eps
        if decay and is_decoupled:
            p *= 1 - lr * decay
        p -= lr / (1 - beta1**step) * mean / spread


class AdamW(Adam):
    """Adam with decoupled decay: first  p ← p·(1 − lr·weight_decay),  then Adam's step by ∂L/∂p.

    In Adam the decay passes through the division by √v̂, so that weights with large gradients
    hardly decay; here all decay alike. Arguments as for Adam; biases and norms are best left out of
    the decay, which ``optim.decay_groups`` does.

    Reference: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
    """

    is_decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
