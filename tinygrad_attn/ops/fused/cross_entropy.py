"""cross_entropy: how surprised a model is by what came next, in nats."""

from ...backend import backend_of, dtypes, namespace
from ...core import fused
from ...errors import DTypeError, ShapeError
from ..check import as_tensors, normalize_axis, one_of, probability, whole_number
from .ids import check_ids
from .softmax import log_softmax

__all__ = ["cross_entropy"]


def surprise_spec(logits, target, share=None, *, smoothing, ignore_index, reduction):
    """−Σᵥ qᵥ·ln softmax(logits)ᵥ for each row, where q is the smoothed target; then the reduction.

    q = (1 − smoothing) · share[target] at the target, plus smoothing/V · share everywhere;
    ``share`` is the weight of each class, 1 without it. A row whose target is ``ignore_index``
    costs nothing. The mean is divided by the shares of the targets that are left.
    """
    xp = namespace(logits)
    log_p = log_softmax(logits, axis=-1)
    kept = target != ignore_index
    target = xp.where(kept, target, 0)
    at_target = kept.astype(logits.dtype)
    if share is not None:
        at_target = at_target * share[target]
    picked = xp.take_along_axis(log_p, xp.expand_dims(target, -1), axis=-1).reshape(target.shape)
    loss = picked * at_target * -(1 - smoothing)
    if smoothing:
        spread = log_p if share is None else log_p * share
        loss = loss - spread.sum(axis=-1) * (smoothing / logits.shape[-1])
    return reduce_losses(xp.where(kept, loss, 0), reduction, at_target)


@fused(spec=surprise_spec, constants=("target", "share"))
def _surprise(logits, target, share=None, *, smoothing, ignore_index, reduction):
    """One row of logits and one target each, (N, V) and (N,), to N losses, or one.

    Between the directions two numbers of each row are kept, never a second matrix: the maximum and
    ln Σ exp(x − maximum), whose sum would lose the digits that matter where logits are large.
    """
    xp = namespace(logits)
    rows = xp.arange(len(target))
    kept = target != ignore_index
    safe = xp.where(kept, target, 0)
    top = xp.max(logits, axis=1, keepdims=True)
    e = logits - top
    xp.exp(e, out=e)
    top, log_sum = top[:, 0], xp.log(xp.sum(e, axis=1))
    count = kept.astype(logits.dtype)
    if share is not None:
        share = share.astype(logits.dtype)
        count *= share[safe]
    at_target, everywhere = count * (1 - smoothing), None
    loss = xp.where(kept, at_target * (log_sum - (logits[rows, safe] - top)), 0)
    if smoothing:
        everywhere = kept.astype(logits.dtype) * (smoothing / logits.shape[1])
        shares = xp.ones(logits.shape[1], dtype=logits.dtype) if share is None else share
        loss += xp.where(
            kept, everywhere * (log_sum * shares.sum() - (logits - top[:, None]) @ shares), 0
        )

    def backward(g):
        g = g if total is None else g / total
        weight = at_target if everywhere is None else at_target + everywhere * shares.sum()
        gx = logits - top[:, None]
        gx -= log_sum[:, None]
        xp.exp(gx, out=gx)  # softmax(logits)
        gx *= (g * weight).astype(gx.dtype)[:, None]
        if everywhere is not None:
            gx -= (g * everywhere).astype(gx.dtype)[:, None] * shares
        gx[rows, safe] -= (g * at_target).astype(gx.dtype)
        backend_of(gx).index_put(gx, ~kept, 0)
        return (gx,)

    y, total = _reduced(loss, count, reduction)
    return y, backward


def _reduced(loss, count, reduction):
    """(the reduced losses, by what a mean was divided or None)."""
    if reduction == "none":
        return loss, None
    if reduction == "sum":
        return loss.sum(), None
    total = count.sum()
    total = namespace(loss).where(total == 0, 1, total)
    return loss.sum() / total, total


def cross_entropy(
    logits,
    target,
    axis=-1,
    weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    reduction="mean",
):
    """Cross entropy  L = −ln p[target],  p = softmax(logits).   ∂L/∂logits = p − onehot(target).

    ``target`` holds class numbers, or, in the shape of the logits and as floats, a probability for
    each class; L is in nats. Rows with ``ignore_index`` count for nothing, and a batch in which all
    are ignored has loss 0 with gradient 0. ``weight`` is a factor for each class, by which the mean
    is divided too. ``label_smoothing`` spreads that part of the target evenly over all classes.

    Shapes: logits (..., V, ...) with the classes on ``axis``, the last one unless told otherwise
    (PyTorch has ``axis=1``); target as logits without that axis, or, for probabilities, with it.
    Infinite logits: a class at −∞ has probability 0; it costs nothing unless it is a target, which
    costs ∞.
    Raises: ShapeError, DTypeError for targets that do not fit; IndexRangeError for a class outside
    0..V−1.
    Reference: for the smoothing, Szegedy et al., "Rethinking the Inception Architecture",
    arXiv:1512.00567.
    """
    logits, target = as_tensors("cross_entropy", logits=logits, target=target)
    check_options("cross_entropy", logits, weight, reduction)
    probability("cross_entropy", "label_smoothing", label_smoothing)
    whole_number("cross_entropy", "ignore_index", ignore_index)
    axis = normalize_axis("cross_entropy", axis, logits)
    classes = logits.shape[axis]
    if not classes:
        raise ShapeError(
            f"cross_entropy: logits are {tuple(logits.shape)}, with no classes on axis {axis}; "
            "there must be at least one"
        )
    if weight is not None:
        weight = as_tensors("cross_entropy", logits=logits, weight=weight)[1]
        if tuple(weight.shape) != (classes,):
            raise ShapeError(
                f"cross_entropy: weight is {tuple(weight.shape)}, logits are "
                f"{tuple(logits.shape)}, of {classes} classes; weight must be ({classes},)"
            )
    moved = logits if axis == logits.ndim - 1 else namespace(logits).moveaxis(logits, axis, -1)
    if dtypes.is_float(target.dtype):
        _check_probabilities(moved, target, axis)
        target = namespace(target).moveaxis(target, axis, -1)
        return reduce_losses(_expected(moved, target, weight, label_smoothing), reduction)
    _check_target(moved, target, ignore_index, classes)
    losses = _surprise(
        moved.reshape(target.size, classes),
        target.reshape(-1),
        None if weight is None else weight.detach(),
        smoothing=float(label_smoothing),
        ignore_index=int(ignore_index),
        reduction=reduction,
    )
    return losses.reshape(target.shape) if reduction == "none" else losses


def reduce_losses(losses, reduction, counts=None):
    """Losses to one number; ``counts`` is what each weighs in the mean, which may be nothing."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if counts is None:  # targets given as probabilities: every row counts as one
        return losses.sum() / max(losses.size, 1)
    total = counts.detach().sum()
    return losses.sum() / namespace(total).where(total == 0, 1, total)


def check_options(where, logits, weight, reduction):
    """Hold the options that the classification losses share to their domains."""
    one_of(where, "reduction", reduction, ("mean", "sum", "none"))
    if not logits.ndim:
        raise ShapeError(f"{where}: logits are (); there must be an axis of classes")
    if not dtypes.is_float(logits.dtype):
        raise DTypeError(f"{where}: logits are {logits.dtype}; they must be floats")


def _check_target(logits, target, ignore_index, classes):
    """Class numbers: integers, in the shape of the logits without their classes, inside 0..V−1."""
    expected = tuple(logits.shape[:-1])
    if tuple(target.shape) != expected:
        raise ShapeError(
            f"cross_entropy: target is {tuple(target.shape)}, logits are {tuple(logits.shape)}, "
            f"classes last; the target must be {expected}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(
            f"cross_entropy: target is {target.dtype}; classes are integers, probabilities floats"
        )
    table = f"logits have {classes} classes"
    check_ids("cross_entropy", "target", target, classes, table, ignore=ignore_index)


def _check_probabilities(logits, target, axis):
    """One number for each logit; ``logits`` have their classes last, ``target`` on ``axis``."""
    shape = list(logits.shape)
    shape.insert(axis, shape.pop())
    if list(target.shape) != shape:
        raise ShapeError(
            f"cross_entropy: target is {tuple(target.shape)} of floats, logits are "
            f"{tuple(shape)}; probabilities need one number for each logit, classes are integers"
        )


def _expected(logits, target, weight, smoothing):
    """Losses where the target is probabilities: a class that has 0 costs nothing, even at −∞."""
    xp = namespace(logits)
    target = target * (1 - smoothing) + smoothing / logits.shape[-1] if smoothing else target
    log_p = log_softmax(logits, axis=-1)
    reachable = xp.where(target == 0, 0, log_p)
    cost = target * reachable
    return -(cost if weight is None else cost * weight).sum(axis=-1)
