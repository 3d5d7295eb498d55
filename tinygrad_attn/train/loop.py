"""The training loop: forward, backward, clip, step; and nothing hidden.

The loss is a function of the step number, and so is the learning rate: a run has no other state
than the weights and the optimizer's, and step 5,000 is the same step whether or not 4,999 others
ran before it in this process.
"""

import math
from collections.abc import Callable

from ..core import Tensor
from ..errors import DataError, NonFiniteError
from ..optim import clip_grad_norm_
from .progress import Progress

__all__ = ["train"]


def train(
    model,
    optimizer,
    loss: Callable[[int], Tensor],
    steps: int,
    *,
    schedule: Callable[[int], float] | None = None,
    clip: float | None = None,
    tokens: int = 1,
    every: int | None = None,
    report: Callable[[int, list[float]], str] | None = None,
) -> list[float]:
    """Take ``steps`` steps down the loss, with progress on stderr; returns the loss at each.

    Args:
        model: the Module whose parameters are trained: in training mode meanwhile, in eval mode
            afterwards.
        optimizer: over these parameters.
        loss: step number → the scalar loss of that step's batch.
        schedule: step number → learning rate; the optimizer's own without it.
        clip: the largest norm that all gradients together may have.
        tokens: how many a step reads, to tell the speed.
        every: how many steps lie between two calls of ``report``; it is called after the last one
            too.
        report: (steps done, losses so far) → a line to print, such as a validation loss.

    Raises: DataError for a negative number of steps; NonFiniteError where the loss is no longer a
    number, which it never becomes again.
    """
    if steps < 0:
        raise DataError(f"train: {steps} steps; the number of steps must be 0 or more")
    losses, parameters = [], list(model.parameters())
    model.train()
    with Progress(steps) as progress:
        for step in range(steps):
            if schedule is not None:
                optimizer.lr = schedule(step)
            optimizer.zero_grad()
            value = loss(step)
            value.backward()
            if clip is not None:
                clip_grad_norm_(parameters, clip)
            optimizer.step()

            losses.append(_finite(value.item(), step, optimizer.lr))
            progress.update(losses[-1], tokens)
            if report is not None and (step + 1 == steps or (every and (step + 1) % every == 0)):
                progress.say(report(step + 1, losses))
                model.train()
    model.eval()
    return losses


def _finite(value, step, lr):
    if not math.isfinite(value):
        raise NonFiniteError(
            f"train: the loss is {value} at step {step}, with a learning rate of {lr:.2g}; lower "
            "the rate, or find the op where it began with ta.detect_anomaly()"
        )
    return value
