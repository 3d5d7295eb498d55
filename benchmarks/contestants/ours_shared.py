"""We on two cores: ``train.train`` with two workers, each with half of every batch."""

import time
from itertools import pairwise

import tinygrad_attn as ta
from tinygrad_attn.train import train

from . import ours
from .problem import ADAMW

WORKERS = 2


class Run(ours.Run):
    """The same model and optimizer in the training loop, which starts and ends the workers."""

    processes = WORKERS

    def train(self, steps):
        """Train some steps; returns the losses, and the seconds of each step but the last."""
        starts = []

        def schedule(step):
            starts.append(time.perf_counter())
            return ADAMW["lr"]

        losses = self._train(self.optimizer, steps, schedule)
        return losses, [after - before for before, after in pairwise(starts)]

    def gradients(self):
        """(the loss, {name: gradient}), of a step in which no weight moves."""
        losses = self._train(ta.optim.SGD(self.model.parameters(), lr=0.0), 1)
        return losses[0], {n: p.grad.numpy() for n, p in self.model.named_parameters()}

    def _train(self, optimizer, steps, schedule=None):
        batch = self.ids.numpy(), self.target.numpy()
        return train(
            self.model,
            optimizer,
            _loss,
            steps,
            batch=lambda step: batch,
            workers=WORKERS,
            schedule=schedule,
        )


def _loss(model, ids, target):
    """The mean cross entropy of some rows of the batch."""
    return ta.cross_entropy(model(ta.tensor(ids)), ta.tensor(target))
