"""Every loss but cross_entropy, in each reduction, with what each can be told besides."""

import numpy as np

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape, same_shapes

WIDE = (-2, 2)
FRACTION = (0.1, 0.9)
REDUCTIONS = {
    "mean": lambda x: x.mean() if x.size else np.zeros(()),
    "sum": np.sum,
    "none": np.asarray,
}


def loss(name, domains, reference, reduction="none", **options):
    """A case of the loss called ``name``."""
    label = "".join(f" {key}={value}" for key, value in options.items())
    return Case(
        f"{name}{label} {reduction}",
        lambda p, t: getattr(ta, name)(p, t, reduction=reduction, **options),
        domains,
        lambda p, t: REDUCTIONS[reduction](reference(p, t)),
        shapes=same_shapes(2, max_dims=2),
    )


def squared(p, t):
    return (p - t) ** 2


def smooth_l1(p, t):
    d = np.abs(p - t)
    return np.where(d < 0.5, d * d, d - 0.25)


def huber(p, t):
    d = np.abs(p - t)
    return np.where(d < 0.5, d * d / 2, 0.5 * (d - 0.25))


def binary_cross_entropy(x, t):
    p = 1 / (1 + np.exp(-x))
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


def classes(shape, axis):
    """Class numbers for log-probabilities of a shape, the first one ignored where there are two."""
    rest = [size for i, size in enumerate(shape) if i != axis % len(shape)]
    target = np.arange(np.prod(rest, dtype=int)).reshape(rest) % shape[axis]
    if target.size > 1:
        target[(0,) * target.ndim] = -100
    return target


def nll(axis, reduction):
    """A case of nll_loss with weights and ignored targets."""

    def op(x):
        return ta.nll_loss(x, ta.tensor(classes(x.shape, axis)).to(x.device), axis, **of(x))

    def of(x):
        weight = ta.arange(1, x.shape[axis] + 1, dtype=x.dtype, device=x.device)
        return {"weight": weight, "reduction": reduction}

    def reference(x):
        target = classes(x.shape, axis)
        share = np.where(target < 0, 0, 1.0 + target)
        picked = np.take_along_axis(x, np.expand_dims(np.maximum(target, 0), axis), axis)
        losses = -share * picked.squeeze(axis)
        if reduction == "mean":
            return losses.sum() / share.sum() if share.sum() else np.zeros(())
        return losses.sum() if reduction == "sum" else losses

    return Case(
        f"nll_loss axis={axis} {reduction}",
        op,
        ((-2, -0.1),),
        reference,
        shapes=one_shape(min_dims=2, max_dims=2, min_size=1),
    )


CASES = [
    loss("mse_loss", (WIDE, WIDE), squared),
    loss("mse_loss", (WIDE, WIDE), squared, "mean"),
    loss("mse_loss", (WIDE, WIDE), squared, "sum"),
    loss("l1_loss", (WIDE, (2.5, 3)), lambda p, t: np.abs(p - t), "mean"),
    loss("smooth_l1_loss", ((0, 0.2), (0.2, 0.4)), smooth_l1, beta=0.5),
    loss("smooth_l1_loss", ((0, 1), (2, 3)), smooth_l1, "mean", beta=0.5),
    loss("huber_loss", ((0, 0.2), (0.2, 0.4)), huber, delta=0.5),
    loss("huber_loss", ((0, 1), (2, 3)), huber, "mean", delta=0.5),
    loss("binary_cross_entropy_with_logits", (WIDE, FRACTION), binary_cross_entropy, "mean"),
    loss("kl_div", ((-2, -0.1), FRACTION), lambda x, t: t * (np.log(t) - x)),
    loss("kl_div", (WIDE, WIDE), lambda x, t: np.exp(t) * (t - x), "mean", log_target=True),
    nll(-1, "none"),
    nll(0, "mean"),
    nll(-1, "mean"),
    Case(
        "kl_div batchmean",
        lambda x, t: ta.kl_div(x, t, reduction="batchmean"),
        ((-2, -0.1), FRACTION),
        lambda x, t: (t * (np.log(t) - x)).sum() / len(x),
        shapes=same_shapes(2, min_dims=1, max_dims=2, min_size=1),
    ),
    Case(
        "binary_cross_entropy_with_logits with weights",
        lambda x, t, w, pos: ta.binary_cross_entropy_with_logits(x, t, w, "none", pos),
        (WIDE, FRACTION, (0.5, 2), (0.5, 2)),
        lambda x, t, w, pos: (
            w * (binary_cross_entropy(x, t) + (pos - 1) * t * np.log1p(np.exp(-x)))
        ),
        shapes=same_shapes(4, max_dims=1),
    ),
]
