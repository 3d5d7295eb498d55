"""Losses: one number, or one for each element, that says how far a prediction is from its target.

``cross_entropy`` is in ``fused``; here are the others, each a composition. A prediction and a
target of different shapes are an error: broadcast against each other they would give a plausible
number that means nothing. The mean of no losses, of an empty or an all-ignored batch, is 0.
"""

from ..errors import DTypeError, ShapeError
from .activations import softplus
from .check import (
    as_float,
    as_tensors,
    broadcasts_to,
    normalize_axis,
    number,
    one_of,
    whole_number,
)
from .choice import where
from .compare import isinf
from .elementwise import absolute, square
from .functions import exp
from .fused.cross_entropy import reduce_losses
from .fused.ids import check_ids
from .pairs import xlogy
from .select import take_along_axis
from .shape import expand_dims, moveaxis

__all__ = [
    "binary_cross_entropy_with_logits",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

_REDUCTIONS = "mean", "sum", "none"


# ---- numbers -------------------------------------------------------------------------------------


def mse_loss(prediction, target, reduction="mean"):
    """Squared error  (p − t)².   ∂L/∂p = 2·g·(p − t).

    Shapes: p and t alike → a scalar, or as they are for ``reduction="none"``.
    Raises: ShapeError for different shapes; DTypeError for an unknown reduction.
    """
    prediction, target = _pair("mse_loss", prediction, target, reduction)
    return _reduced(square(prediction - target), reduction)


def l1_loss(prediction, target, reduction="mean"):
    """Absolute error  |p − t|.   ∂L/∂p = g·sign(p − t), 0 where they are equal.

    Raises: ShapeError for different shapes; DTypeError for an unknown reduction.
    """
    prediction, target = _pair("l1_loss", prediction, target, reduction)
    return _reduced(absolute(prediction - target), reduction)


def smooth_l1_loss(prediction, target, reduction="mean", beta=1.0):
    """Absolute error with a rounded tip:  d²/(2β) where d = |p − t| < β,  else  d − β/2.

    Raises: ShapeError for different shapes or a negative beta; DTypeError for an unknown reduction.
    Reference: Girshick, "Fast R-CNN", arXiv:1504.08083.
    """
    if not number("smooth_l1_loss", "beta", beta) >= 0:
        raise ShapeError(f"smooth_l1_loss: beta is {beta}; it must be 0 or more")
    prediction, target = _pair("smooth_l1_loss", prediction, target, reduction)
    difference = prediction - target
    losses = _round_tip(difference, beta) / beta if beta else absolute(difference)
    return _reduced(losses, reduction)


def huber_loss(prediction, target, reduction="mean", delta=1.0):
    """Squared error that becomes linear:  d²/2 where d = |p − t| < δ,  else  δ·(d − δ/2).

    Raises: ShapeError for different shapes or a delta ≤ 0; DTypeError for an unknown reduction.
    Reference: Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    if not number("huber_loss", "delta", delta) > 0:
        raise ShapeError(f"huber_loss: delta is {delta}; it must be greater than 0")
    prediction, target = _pair("huber_loss", prediction, target, reduction)
    return _reduced(_round_tip(prediction - target, delta), reduction)


def _round_tip(difference, width):
    """d²/2 near 0, width·(d − width/2) beyond; the square is taken only where it is wanted."""
    size = absolute(difference)
    is_near = size < width
    near = square(where(is_near, difference, 0)) * 0.5
    return near + where(is_near, 0, (size - 0.5 * width) * width)


# ---- probabilities -------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    logits, target, weight=None, reduction="mean", pos_weight=None
):
    """Surprise at a yes or no:  −t·ln σ(x) − (1 − t)·ln(1 − σ(x)).   ∂L/∂x = g·(σ(x) − t).

    From logits, as  −ln σ(x) = softplus(−x):  no probability is rounded before its logarithm.

    Args:
        target: the probabilities of yes.
        weight: a factor for each element.
        pos_weight: a factor for the first term, what a yes is worth.
    Shapes: logits and target alike; the weights broadcast to them.
    Raises: ShapeError where they do not; DTypeError for an unknown reduction.
    """
    here = "binary_cross_entropy_with_logits"
    logits, target = _pair(here, logits, target, reduction, "logits")
    yes = target if pos_weight is None else target * _factor(here, "pos_weight", pos_weight, logits)
    losses = _times(yes, softplus(-logits)) + _times(1 - target, softplus(logits))
    if weight is not None:
        losses = losses * _factor(here, "weight", weight, logits)
    return _reduced(losses, reduction)


def kl_div(log_probs, target, reduction="mean", log_target=False):
    """Kullback–Leibler divergence  t·(ln t − x)  from log-probabilities x.   ∂L/∂x = −g·t.

    The mean is over all elements; ``reduction="batchmean"``, the sum over the first size, is the
    divergence itself. What has probability t = 0 costs nothing, even at x = −∞.

    Args:
        log_target: whether the target holds logarithms as well.
    Raises: ShapeError for different shapes; DTypeError for an unknown reduction.
    Reference: Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    per_row = isinstance(reduction, str) and reduction == "batchmean"
    reduction = "sum" if per_row else reduction
    log_probs, target = _pair("kl_div", log_probs, target, reduction, "log_probs")
    if per_row and not log_probs.ndim:
        raise ShapeError('kl_div: log_probs is (), with no rows to divide by; use reduction="sum"')
    if log_target:
        t = exp(target)
        losses = _times(t, target) - _times(t, log_probs)
    else:
        losses = xlogy(target, target) - _times(target, log_probs)
    loss = _reduced(losses, reduction)
    return loss / max(len(log_probs), 1) if per_row else loss


def nll_loss(log_probs, target, axis=-1, weight=None, ignore_index=-100, reduction="mean"):
    """Negative log-likelihood  −x[t]  of log-probabilities x.   ∂L/∂x = −g·onehot(t).

    Of ``log_softmax(logits)`` it is ``cross_entropy(logits, target)``, whose conventions it shares:
    a target that is ``ignore_index`` counts for nothing, ``weight`` is a factor for each class, by
    which the mean is divided too, and the mean of nothing is 0 with gradient 0.

    Shapes: log_probs (..., V, ...) with the classes on ``axis``; target as log_probs without it.
    Raises: ShapeError, DTypeError for what does not fit; IndexRangeError for a class not in 0..V−1.
    """
    one_of("nll_loss", "reduction", reduction, _REDUCTIONS)
    whole_number("nll_loss", "ignore_index", ignore_index)
    log_probs, target = as_tensors("nll_loss", log_probs=log_probs, target=target)
    log_probs = as_float(log_probs)
    if weight is not None:
        weight = as_tensors("nll_loss", log_probs=log_probs, weight=weight)[1]
    axis = normalize_axis("nll_loss", axis, log_probs)
    log_probs = moveaxis(log_probs, axis, -1)
    _check_classes(log_probs, target, weight, ignore_index)
    is_kept = target != ignore_index
    known = where(is_kept, target, 0)
    picked = take_along_axis(log_probs, expand_dims(known, -1), axis=-1)[..., 0]
    share = is_kept.astype(log_probs.dtype)
    if weight is not None:
        share = share * weight[known]
    losses = where(share == 0, 0, -picked) * share
    return reduce_losses(losses, reduction, share)


def _times(t, z):
    """t·z, where a weight t of 0 outweighs an infinite z."""
    return t * where((t == 0) & isinf(z), 0, z)


# ---- what losses share ---------------------------------------------------------------------------


def _pair(where, prediction, target, reduction, name="prediction"):
    """Prediction and target as tensors, of one shape."""
    one_of(where, "reduction", reduction, _REDUCTIONS)
    prediction, target = as_tensors(where, **{name: prediction, "target": target})
    prediction = as_float(prediction)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{where}: {name} is {prediction.shape}, target is {target.shape}; "
            "the shapes must be equal"
        )
    return prediction, target


def _reduced(losses, reduction):
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" and losses.size else losses.sum()


def _factor(where, name, factor, logits):
    """A weight as a tensor that broadcasts to the logits without widening them."""
    factor = as_tensors(where, logits=logits, **{name: factor})[1]
    if not broadcasts_to(factor.shape, logits.shape):
        raise ShapeError(
            f"{where}: {name} is {factor.shape}, logits are {logits.shape}; counted from the last "
            f"axis, each size of {name} must be 1 or that of the logits"
        )
    return factor


def _check_classes(log_probs, target, weight, ignore_index):
    """Hold the targets of ``nll_loss`` to its log-probabilities, classes last."""
    *rest, classes = log_probs.shape
    if target.shape != tuple(rest):
        raise ShapeError(
            f"nll_loss: target is {target.shape}, log_probs are {log_probs.shape}, classes last; "
            f"the target must be {tuple(rest)}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(f"nll_loss: target is {target.dtype}; classes are whole numbers")
    table = f"log_probs have {classes} classes"
    check_ids("nll_loss", "target", target, classes, table, ignore=ignore_index)
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(
            f"nll_loss: weight is {weight.shape}, log_probs are {log_probs.shape}, of {classes} "
            f"classes; weight must be ({classes},)"
        )
