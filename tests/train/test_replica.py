"""Replicas: nothing in a step depends on what connects the ranks, or on memory being shared."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from tests.train.test_workers import batch, loss, make, run, weights
from tinygrad_attn.optim import AdamW
from tinygrad_attn.train import Alone, Communicator
from tinygrad_attn.train.replica import Replica


class Thread(Communicator):
    """A rank that is a thread, with arrays of its own: all that it is told comes in copies."""

    def __init__(self, rank, meeting, board):
        self.rank, self.size = rank, meeting.parties
        self.meeting, self.board = meeting, board

    def barrier(self):
        self.meeting.wait()

    def broadcast(self, array):
        self.board[self.rank] = array.copy()
        self.barrier()
        array[...] = self.board[0]
        self.barrier()

    def all_reduce_mean(self, array):
        self.board[self.rank] = array.copy()
        self.barrier()
        total = sum(self.board[1:], self.board[0])
        self.barrier()
        array[...] = total / self.size


def follow(communicator, steps):
    """Train as ``train`` does, rank 0 with the optimizer; gives (losses, weights, gradients)."""
    model = make()
    optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    replica = Replica(communicator, model, loss, partial(batch, 7))
    losses = []
    for step in range(steps):
        model.zero_grad()
        losses.append(replica.backward(step).item())
        if communicator.rank == 0:
            optimizer.step()
    gradients = [p.grad.data.ravel() for p in model.parameters() if p.grad is not None]
    return losses, weights(model), np.concatenate(gradients)


@pytest.mark.parametrize("size", [2, 3])
def test_any_communicator_will_do(size):
    meeting, board = threading.Barrier(size, timeout=60), [None] * size
    ranks = [Thread(rank, meeting, board) for rank in range(size)]
    with ThreadPoolExecutor(size) as pool:
        found = list(pool.map(follow, ranks, [6] * size))
    expected = run(size, rows=7)
    for a, b in zip(found[0], expected):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert all(losses == expected[0] for losses, *_ in found)  # every rank knows the loss


def test_alone_it_is_plain_backward():
    model, twin = make(), make()
    arrays = batch(5, 0)
    value = Replica(Alone(), model, loss, lambda step: arrays).backward(0)
    expected = loss(twin, *arrays)
    expected.backward()
    assert value.item() == expected.item()
    assert model.up.weight.grad.data.tobytes() == twin.up.weight.grad.data.tobytes()
