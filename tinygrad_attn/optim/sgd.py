"""SGD: steps down the gradient, with momentum."""

from collections.abc import Iterable

from ..backend import namespace
from ..core import Tensor
from ..errors import ShapeError
from .optimizer import Optimizer, check_numbers

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent  p ← p − lr·b  with momentum  b ← momentum·b + (1 − dampening)·g.

    g is ∂L/∂p + weight_decay·p, and the first b is g itself. With ``nesterov`` the step goes along
    g + momentum·b, a look ahead.

    Args:
        params: parameters, or groups of them; see Optimizer.
        lr: the learning rate.
        momentum: how much of the last step goes on; 0 is plain descent, which remembers nothing.
        dampening: how much less a new gradient counts.
        weight_decay: the pull towards 0, added to the gradient.
        nesterov: needs a momentum and no dampening.

    Raises: ShapeError for negative numbers, or nesterov without what it needs.
    Reference: Sutskever et al., "On the importance of initialization and momentum in deep
    learning", ICML 2013.

    Example:
        >>> import tinygrad_attn as ta
        >>> x = ta.tensor([3.0], requires_grad=True)
        >>> optimizer = ta.optim.SGD([x], lr=0.1)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([2.4], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def _check_options(self, where, lr, momentum, dampening, weight_decay, nesterov):
        check_numbers(
            where, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay
        )
        if nesterov and (not momentum or dampening):
            raise ShapeError(
                f"{where}: momentum is {momentum}, dampening is {dampening}; nesterov needs a "
                "positive momentum and a dampening of 0"
            )

    def _update(self, p, g, state, group):
        xp = namespace(p)
        work, decayed = self._work(g)
        momentum = float(group["momentum"])
        if group["weight_decay"]:
            xp.multiply(p, float(group["weight_decay"]), out=decayed)
            decayed += g
            g = decayed
        if momentum:
            if not state:
                b = state["momentum_buffer"] = xp.zeros_like(p, dtype=g.dtype)
                b += g
            else:
                b = state["momentum_buffer"]
                b *= momentum
                xp.multiply(g, 1 - float(group["dampening"]), out=work)
                b += work
            if group["nesterov"]:
                xp.multiply(b, momentum, out=work)
                work += g
                g = work
            else:
                g = b
        xp.multiply(g, float(group["lr"]), out=work)
        p -= work
