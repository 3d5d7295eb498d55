"""Adam: each parameter's own step, from running means of its gradient and of the square of it."""

import math
from collections.abc import Iterable

from ..backend import namespace
from ..core import Tensor
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

    def _update(self, p, g, state, group):
        xp = namespace(p)
        if not state:
            state["step"] = 0
            state["exp_avg"] = xp.zeros_like(p, dtype=g.dtype)
            state["exp_avg_sq"] = xp.zeros_like(p, dtype=g.dtype)
        state["step"] += 1
        t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
        lr, eps, decay = float(group["lr"]), float(group["eps"]), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        work, decayed = self._work(g)
        if decay and self.is_decoupled:
            p *= 1 - lr * decay
        elif decay:
            xp.multiply(p, decay, out=decayed)
            decayed += g
            g = decayed
        m *= beta1
        xp.multiply(g, 1 - beta1, out=work)
        m += work
        v *= beta2
        xp.multiply(g, g, out=work)
        work *= 1 - beta2
        v += work
        xp.sqrt(v, out=work)
        work /= math.sqrt(1 - beta2**t)
        work += eps
        xp.divide(m, work, out=work)
        work *= lr / (1 - beta1**t)
        p -= work


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
