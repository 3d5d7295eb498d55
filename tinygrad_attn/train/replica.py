"""One step on several ranks: each computes its rows of the batch, and one gradient comes of it.

Data parallelism. Every rank has the whole model. At the beginning of a step the weights of rank 0
become everybody's; then each rank computes the gradient g of its own rows, and their mean

    Σ w·g / Σ w    where w is what the rows of a rank weigh

is the gradient of the whole batch. Rank 0 alone goes on with it as if it had computed it by itself,
so clipping, schedules, optimizers and checkpoints need not know that there is anybody else.

What has to travel is laid out flat: the weights in one array, and in another the gradients, the
loss and w, so that a step takes one broadcast and one mean, whatever the model looks like. With the
weights travels the factor by which a GradScaler has everybody scale the loss: whether a gradient
overflowed, on whichever rank, rank 0 sees in the mean, and nobody else has to decide anything.
"""

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..backend import quiet
from ..backend.random import Generator
from ..core import Tensor
from ..core.graph import mark_written
from ..errors import DataError
from ..ops.random import default_generator
from ..optim import GradScaler
from .communicator import Communicator

__all__ = ["Replica", "check_loss", "draw_apart"]

_LINE = 64  # bytes: where a parameter begins, as the processor's caches are divided


class Replica:
    """The model as one rank has it. On rank 0 it stays as it was; elsewhere it is taken over.

    Args:
        communicator: to the other ranks.
        model: the Module whose parameters get gradients.
        loss: (model, rows of the batch...) → their mean loss, a scalar tensor, or (that, w).
        batch: step → the arrays of the whole batch, the same on every rank.
        scaler: scales the loss of every rank by the factor of rank 0's; the gradients stay scaled.
    """

    def __init__(
        self,
        communicator: Communicator,
        model,
        loss: Callable,
        batch: Callable,
        scaler: GradScaler | None = None,
    ):
        self.communicator, self.model, self.loss, self.batch = communicator, model, loss, batch
        self.scaler = GradScaler(enabled=False) if scaler is None else scaler
        if communicator.size == 1:
            return
        self.parameters = list(model.parameters())
        self._lay_out_weights()
        self._lay_out_gradients()

    def _lay_out_weights(self):
        """One array of bytes: ``places``, each like its parameter, and the factor on the loss."""
        *starts, after, end = _starts([*[p.nbytes for p in self.parameters], 8], _LINE)
        self.weights = self.communicator.zeros(end, np.uint8, common=True)
        self.factor = self.weights[after : after + 8].view(np.float64)  # not to be rounded
        self.places = [
            self.weights[start : start + p.nbytes].view(p.dtype).reshape(p.shape)
            for start, p in zip(starts, self.parameters)
        ]
        if self.communicator.rank:
            for p, place in zip(self.parameters, self.places):
                p.data = place

    def _lay_out_gradients(self):
        """One array of floats, float32 at least: gradients, whether there are any, loss and w."""
        dtype = np.result_type(np.float32, *(p.dtype for p in self.parameters))
        starts = _starts([p.size for p in self.parameters], 1)  # tight, so one call fills them all
        self.parts = [slice(start, start + p.size) for start, p in zip(starts, self.parameters)]
        count = starts[-1] + len(self.parameters) + 2
        self.flat = self.communicator.zeros(count, dtype)
        self.gradients, self.notes = self.flat[: starts[-1]], self.flat[starts[-1] :]

    def backward(self, step: int) -> Tensor:
        """The loss of the step's whole batch; on rank 0 the parameters then have its gradient.

        It is what the scaler makes of it: still to be unscaled.
        Raises: DataError for a batch without rows, or whose arrays have different numbers of them,
        and for a loss that is no tensor, or weighs no number.
        """
        arrays = _arrays(self.batch(step), step)
        if self.communicator.size == 1:
            value, _ = self._loss(arrays)
            self.scaler.scale(value).backward()
            return value
        for p in self.parameters:
            p.grad = None
        self._take_weights()
        rows, rank, size = len(arrays[0]), self.communicator.rank, self.communicator.size
        mine = slice(rows * rank // size, rows * (rank + 1) // size)
        if mine.start == mine.stop:  # more ranks than rows
            self._put(0.0, 0.0)
        else:
            value, weight = self._loss([array[mine] for array in arrays])
            self.scaler.scale(value).backward()
            self._put(value.item(), _weight(weight))
        self.communicator.all_reduce_mean(self.flat)
        return self._mean()

    def _loss(self, arrays):
        """(the loss of these rows, what it weighs), which is their number unless the loss says."""
        result = self.loss(self.model, *arrays)
        pair = result if isinstance(result, tuple) else (result, len(arrays[0]))
        if len(pair) != 2:
            raise DataError(
                f"train: loss returned {len(pair)} things; it must return a scalar tensor, or "
                "(that, what it weighs)"
            )
        return check_loss(pair[0]), pair[1]

    def _take_weights(self):
        """From here on every rank has the weights of rank 0, and its factor on the loss."""
        if self.communicator.rank == 0:
            self.factor[0] = self.scaler.get_scale()
            for p, place in zip(self.parameters, self.places):
                place[...] = p.data
        self.communicator.broadcast(self.weights)
        if self.communicator.rank:
            mark_written(self.weights)
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": self.factor.item()})

    @quiet
    def _put(self, value, weight):
        """Lay out what this rank adds to the sum."""
        nothing = np.zeros((), self.flat.dtype)
        found = [
            np.broadcast_to(nothing, p.shape) if p.grad is None else p.grad.data
            for p in self.parameters
        ]
        np.concatenate(found, axis=None, out=self.gradients)
        self.gradients *= weight
        self.notes[:-2] = [p.grad is not None for p in self.parameters]
        self.notes[-2:] = value * weight, weight
        if not weight:  # rows that weigh nothing may well have the mean 0/0
            self.gradients[...] = self.notes[-2] = 0

    @quiet
    def _mean(self):
        """Divide by the weights; gradients become those of the parameters, in memory of their own.

        A parameter that no rank had a gradient for has none, as it would have in one process.
        """
        *has_gradient, value, weight = self.notes
        weight = weight or 1  # the mean of nothing is 0
        if self.communicator.rank == 0:
            mean = self.gradients / weight
            for p, part, has in zip(self.parameters, self.parts, has_gradient):
                if has:
                    gradient = mean[part].reshape(p.shape)
                    p.node.grad = Tensor(gradient.astype(p.dtype, copy=False))
        return Tensor(np.asarray(value / weight))


def check_loss(value):
    """The value of a loss function, which must be a tensor."""
    if not isinstance(value, Tensor):
        raise DataError(
            f"train: loss returned a {type(value).__name__}; it must return a scalar tensor, "
            "computed from the model's parameters"
        )
    return value


def _weight(value):
    """What the rows weigh, as a float. Raises: DataError where it is none, or below 0."""
    with suppress(TypeError, ValueError):
        if 0 <= (weight := float(value)) < math.inf:
            return weight
    raise DataError(
        f"train: loss returned {value!r:.60} as what its rows weigh; it must be a finite number, "
        "not below 0"
    )


def _starts(sizes, step):
    """Where things of these sizes begin, one after the other at multiples of ``step``; the end."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // step) * step)
    return starts


def _arrays(batch, step):
    """The arrays of a batch, all with the same number of rows."""
    arrays = batch if isinstance(batch, (tuple, list)) else (batch,)
    shapes = [getattr(array, "shape", ()) for array in arrays]
    rows = {shape[:1] for shape in shapes}
    if len(rows) != 1 or rows & {(), (0,)}:
        raise DataError(
            f"train: batch({step}) has the shapes {', '.join(map(str, shapes))}; it must be an "
            "array or a tuple of them, all with the same number of rows, at least one"
        )
    return arrays


def draw_apart(model, rank: int):
    """Let this rank's copies of all generators go on with random numbers of its own.

    Those are determined by where a generator stood and by the rank: the same seed on as many ranks
    gives the same dropout masks, on each rank others.
    """
    found = [value for module in model.modules() for value in vars(module).values()]
    generators = [default_generator(), *(x for x in found if isinstance(x, Generator))]
    for generator in {id(each): each for each in generators}.values():
        stream, number = generator.draw_key()
        generator.set_state(Generator(stream).spawn(number, rank).get_state())
