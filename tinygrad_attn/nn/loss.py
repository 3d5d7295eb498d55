"""Losses as layers: options set once, then called with a prediction and its target."""

from ..core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ..ops.check import as_tensor, number, probability
from .module import Module

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    """What all have in common: ``reduction``, "mean", "sum" or "none", checked when it is set."""

    reductions = ("mean", "sum", "none")

    def __init__(self, reduction):
        if reduction not in self.reductions:
            known = ", ".join(self.reductions)
            raise DTypeError(
                f"{type(self).__name__}: reduction is {reduction!r}; it must be one of {known}"
            )
        self.reduction = reduction

    def _keep(self, **factors):
        """Keep tensors of factors as buffers, which move with the loss and are saved with it."""
        for name, factor in factors.items():
            if factor is not None:
                factor = as_tensor(factor, where=type(self).__name__).detach()
            self.register_buffer(name, factor)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


# ---- of classes ----------------------------------------------------------------------------------


class CrossEntropyLoss(_Loss):
    """Cross entropy  −ln softmax(logits)[target], in nats: how surprising the targets are.

    Args:
        weight: a factor for each class, by which the mean is divided too.
        ignore_index: a target that counts for nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: this part of every target is spread evenly over all classes.
        axis: where the classes are: last unless told otherwise (PyTorch has ``axis=1``).

    Shapes: logits (..., V), target (...) of class numbers, or (..., V) of probabilities.
    Raises: as ``ta.cross_entropy``.

    Example:
        >>> import tinygrad_attn as ta
        >>> loss = ta.nn.CrossEntropyLoss()
        >>> loss(ta.tensor([[0.0, 0.0], [0.0, 0.0]]), ta.tensor([0, 1]))
        tensor(0.6931472)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        axis: int = -1,
    ):
        super().__init__(reduction)
        probability("CrossEntropyLoss", "label_smoothing", label_smoothing)
        self._keep(weight=weight)
        self.ignore_index, self.label_smoothing, self.axis = ignore_index, label_smoothing, axis

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            logits,
            target,
            axis=self.axis,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )


class NLLLoss(_Loss):
    """Negative log-likelihood  −x[target]  of log-probabilities x; arguments as CrossEntropyLoss.

    Shapes: x (..., V), target (...) of class numbers.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        axis: int = -1,
    ):
        super().__init__(reduction)
        self._keep(weight=weight)
        self.ignore_index, self.axis = ignore_index, axis

    def forward(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return nll_loss(
            log_probs,
            target,
            axis=self.axis,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


# ---- of numbers ----------------------------------------------------------------------------------


class MSELoss(_Loss):
    """Squared error  (p − t)²  of a prediction p and a target t of one shape."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return mse_loss(prediction, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Absolute error  |p − t|  of a prediction p and a target t of one shape."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return l1_loss(prediction, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Absolute error with a rounded tip:  d²/2β where d = |p − t| < β = beta,  else  d − β/2."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        if not number("SmoothL1Loss", "beta", beta) >= 0:
            raise ShapeError(f"SmoothL1Loss: beta is {beta}; it must be 0 or more")
        self.beta = beta

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(prediction, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Squared error that goes on as a line:  d²/2 where d = |p − t| < δ,  else  δ·(d − δ/2)."""

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        if not number("HuberLoss", "delta", delta) > 0:
            raise ShapeError(f"HuberLoss: delta is {delta}; it must be greater than 0")
        self.delta = delta

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return huber_loss(prediction, target, reduction=self.reduction, delta=self.delta)


# ---- of probabilities ----------------------------------------------------------------------------


class BCEWithLogitsLoss(_Loss):
    """Binary cross entropy  −t·ln σ(x) − (1 − t)·ln(1 − σ(x))  of logits x and probabilities t.

    Args:
        weight: a factor for each element, broadcast to them.
        reduction: "mean", "sum" or "none".
        pos_weight: a factor for the first term, for rare positives.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ):
        super().__init__(reduction)
        self._keep(weight=weight, pos_weight=pos_weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            logits,
            target,
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
        )


class KLDivLoss(_Loss):
    """Kullback–Leibler divergence  t·(ln t − x)  of log-probabilities x and probabilities t.

    Args:
        reduction: "mean" over all elements, "batchmean" over the first axis only, which is the
            divergence itself, "sum" or "none".
        log_target: whether t, too, comes as logarithms.
    """

    reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return kl_div(log_probs, target, reduction=self.reduction, log_target=self.log_target)
