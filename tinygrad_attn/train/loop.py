"""The training loop: forward, backward, clip, step; and nothing hidden.

The batch is a function of the step number, and so is the learning rate: a run has no other state
than the weights and the optimizer's, and step 5,000 is the same step whether or not 4,999 others
ran before it in this process. It is the same step in every process, too, which is all that several
workers need to share its rows.
"""

import inspect
import math
import os
from collections.abc import Callable
from contextlib import contextmanager

from ..backend import backend_of
from ..backend.cpu.blas import single_threaded_blas
from ..core import Tensor, autocast
from ..core.graph import mode
from ..errors import DataError, DeviceError, DTypeError, NonFiniteError
from ..ops import stack
from ..ops.check import whole_number
from ..ops.random import default_generator, drawing_from
from ..optim import GradScaler, clip_grad_norm_
from .communicator import Alone
from .local import Local
from .progress import Progress
from .replica import Replica, check_loss, draw_apart

__all__ = ["train"]

TOGETHER = 10
"""How many losses are read at a time, where to read one is to wait."""


def train(
    model,
    optimizer,
    loss: Callable[..., Tensor],
    steps: int,
    *,
    batch: Callable[[int], tuple] | None = None,
    workers: int = 1,
    start_method: str | None = None,
    schedule: Callable[[int], float] | None = None,
    clip: float | None = None,
    scaler: GradScaler | None = None,
    tokens: int = 1,
    every: int | None = None,
    report: Callable[[int, list[float]], str] | None = None,
) -> list[float]:
    """Take ``steps`` steps down the loss, with progress on stderr; returns the loss at each.

    Args:
        model: the Module whose parameters are trained: in training mode meanwhile, in eval mode
            afterwards.
        optimizer: over these parameters.
        loss: (model, arrays of the batch...) → their mean loss, a scalar; without ``batch`` a
            function of the step number alone, which takes the step's batch from where it likes.
        batch: step number → the arrays of that step's batch, rows along their first axis.
        workers: how many processes share the rows of each batch, this one included. The mean over
            the batch weighs each one's loss by its number of rows; where rows count differently,
            as when some positions are ignored, ``loss`` returns (mean, what it weighs). More than
            there are cores is slow, and said once.
        start_method: how the others are started; see ``Local``.
        schedule: step number → learning rate; the optimizer's own without it.
        clip: the largest norm that all gradients together may have.
        scaler: scales the loss, where ``loss`` computes under ``ta.autocast()``; the gradients are
            unscaled before they are clipped. Rank 0 alone decides, by the gradient of the whole
            batch, whether to skip a step, and its factor is everybody's.
        tokens: how many a step reads, to tell the speed.
        every: how many steps lie between two calls of ``report``; it is called after the last one
            too.
        report: (steps done, losses so far) → a line to print, such as a validation loss.

    Raises: DataError for a negative number of steps, workers without a batch to share or started by
    a worker, a loss that takes a batch where there is none, that is no tensor, or weighs no number,
    or to clip scaled gradients that the optimizer lacks; DTypeError for a scaler that is none, or
    steps that are no whole number; NonFiniteError where the loss is no longer a number, which it
    never becomes again unless the step was skipped; WorkerError where another process failed.

    To read a loss from a GPU is to wait for it, so there losses are read ten at a time, and before
    each report: the error names the step at which the loss was lost, but may come nine steps later.
    """
    scaler = GradScaler(enabled=False) if scaler is None else scaler
    _check(model, optimizer, steps, batch, workers)
    if batch is None:
        _check_loss_of_step(loss)
    _check_scaler(scaler, model, optimizer, clip)
    losses, unread, parameters = [], [], list(model.parameters())
    model.train()
    with (
        _gradients(model, loss, batch, scaler, steps, workers, start_method) as backward,
        Progress(steps) as progress,
    ):
        if workers > (cores := _cores()):
            progress.say(
                f"train: workers is {workers}, cores are {cores}: more workers than cores only "
                "wait for one another"
            )
        for step in range(steps):
            if schedule is not None:
                optimizer.lr = schedule(step)
            optimizer.zero_grad()
            value = backward(step)
            scaler.unscale_(optimizer)
            if clip is not None:
                clip_grad_norm_(parameters, clip)
            scaler.step(optimizer)
            factor = scaler.get_scale()
            scaler.update()

            is_skipped = scaler.get_scale() < factor
            unread.append((step, optimizer.lr, is_skipped, value.detach()))
            is_due = step + 1 == steps or (every and (step + 1) % every == 0)
            if is_due or len(unread) == _patience(value):
                for number in _read(unread):
                    losses.append(number)
                    progress.update(number, tokens)
            if report is not None and is_due:
                progress.say(report(step + 1, losses))
                model.train()
    model.eval()
    return losses


def _check(model, optimizer, steps, batch, workers):
    """Refuse what cannot be run, before anything is changed."""
    if whole_number("train", "steps", steps) < 0:
        raise DataError(f"train: {steps} steps; the number of steps must be 0 or more")
    if not isinstance(workers, int) or workers < 1:
        raise DataError(f"train: workers is {workers!r}; it must be a whole number of at least 1")
    if workers == 1:
        return
    if batch is None:
        raise DataError(
            f"train: {workers} workers, but a loss of the step alone, whose batch nobody can "
            "share; give batch(step), which returns the arrays, and loss(model, *arrays)"
        )
    parameters = {id(p): p for p in model.parameters()}
    devices = {p.device for p in parameters.values()} - {"cpu"}
    if devices:
        raise DeviceError(
            f'train: {workers} workers, but the model is on "{devices.pop()}"; workers share the '
            "cores of a CPU: use model.cpu(), or one worker"
        )
    for p in (p for group in optimizer.param_groups for p in group["params"]):
        if id(p) not in parameters:
            raise DataError(
                f"train: {workers} workers, but the optimizer has a parameter of shape {p.shape} "
                "that is none of the model's; they share only the gradients of those"
            )


def _check_loss_of_step(loss):
    """Refuse a loss that wants more than the step number, where there is no batch to give it."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):  # what is written in C may not tell
        return
    try:
        signature.bind(0)
    except TypeError as error:
        raise DataError(
            f"train: batch= is missing: loss takes {signature}, and without a batch it is called "
            "with the step number alone; give batch=, which returns the arrays of a step, or a "
            "loss(step)"
        ) from error


def _cores():
    """How many cores this process may use; a container may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def _check_scaler(scaler, model, optimizer, clip):
    """Refuse to clip a gradient that stays scaled: a scaler unscales those of the optimizer."""
    if not isinstance(scaler, GradScaler):
        raise DTypeError(
            f"train: scaler is a {type(scaler).__name__}; it must be an optim.GradScaler()"
        )
    if clip is None or not scaler.is_enabled():
        return
    optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for p in model.parameters():
        if p.requires_grad and id(p) not in optimized:
            raise DataError(
                f"train: clip and a scaler, but the model has a parameter of shape {p.shape} that "
                "is none of the optimizer's, so that its gradient would stay scaled; give it to "
                "the optimizer, or freeze it with requires_grad_(False)"
            )


@contextmanager
def _gradients(model, loss, batch, scaler, steps, workers, start_method):
    """Gives a function: step → the loss of its batch, whose gradients the parameters then have.

    On the way out the other processes end, and memory that was shared is shared no more.
    """
    if batch is None:
        yield lambda step: _backward(loss(step), scaler)
    elif workers == 1:
        yield Replica(Alone(), model, loss, batch, scaler).backward
    else:
        with Local(workers, start_method) as communicator, single_threaded_blas():
            replica = Replica(communicator, model, loss, batch, scaler)
            casting = mode.get().casting  # spawned, the others would not be in this region
            communicator.start(
                _follow,
                model=model,
                loss=loss,
                batch=batch,
                scaler=scaler,
                steps=steps,
                generator=default_generator(),
                region=autocast(enabled=False) if casting is None else autocast(casting.dtype),
            )
            yield replica.backward


def _backward(value, scaler):
    scaler.scale(check_loss(value)).backward()
    return value


def _follow(communicator, model, loss, batch, scaler, steps, generator, region):
    """What every rank but 0 does: the same steps, as far as the gradient."""
    with drawing_from(generator), single_threaded_blas(), region:
        draw_apart(model, communicator.rank)
        replica = Replica(communicator, model, loss, batch, scaler)
        for step in range(steps):
            replica.backward(step)


def _patience(value):
    """How many losses to leave unread: one, where reading it costs nothing."""
    return TOGETHER if backend_of(value.data).reading_waits else 1


def _read(unread):
    """The losses in ``unread``, [(step, learning rate, is skipped, loss)]; empties it.

    They are read in one piece. Raises: NonFiniteError for the first that is no number, unless its
    step was skipped.
    """
    values = [value.reshape(()) for *_, value in unread]
    numbers = stack(values).tolist() if len(values) > 1 else [values[0].item()]  # no op for one
    for number, (step, lr, is_skipped, _) in zip(numbers, unread):
        if not (math.isfinite(number) or is_skipped):
            raise NonFiniteError(
                f"train: the loss is {number} at step {step}, with a learning rate of {lr:.2g}; "
                "lower the rate, or find the op where it began with ta.detect_anomaly()"
            )
    unread.clear()
    return numbers
