"""The loop: each step does what it says, in order, and stops where going on makes no sense."""

import math
import re
from functools import partial

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn.errors import DataError, DTypeError, NonFiniteError
from tinygrad_attn.optim import SGD
from tinygrad_attn.train import train


class Point(ta.nn.Module):
    """A model with one number."""

    def __init__(self, at):
        self.at = ta.nn.Parameter(ta.tensor([at]))


def quadratic(model):
    """(x − 3)², the same at every step."""
    return lambda step: ((model.at - 3.0) ** 2).sum()


def test_it_walks_downhill_and_returns_the_losses():
    model = Point(0.0)
    losses = train(model, SGD(model.parameters(), lr=0.25), quadratic(model), 4)
    assert losses == pytest.approx([9, 9 / 4, 9 / 16, 9 / 64])
    assert model.at.item() == pytest.approx(3 - 3 / 16)


def test_gradients_do_not_carry_over_from_step_to_step():
    model = Point(0.0)
    train(model, SGD(model.parameters(), lr=0.0), quadratic(model), 3)
    assert model.at.grad.item() == pytest.approx(-6)


def test_the_schedule_gives_the_rate_of_each_step():
    model = Point(0.0)
    train(
        model,
        SGD(model.parameters(), lr=99.0),
        quadratic(model),
        2,
        schedule=lambda step: [0.5, 0][step],
    )
    assert model.at.item() == pytest.approx(3)


def test_clipping_bounds_the_step():
    model = Point(0.0)
    train(model, SGD(model.parameters(), lr=1.0), quadratic(model), 1, clip=0.5)
    assert model.at.item() == pytest.approx(0.5, rel=1e-4)


def test_the_loss_is_asked_for_steps_in_order():
    model, asked = Point(0.0), []

    def loss(step):
        asked.append(step)
        return quadratic(model)(step)

    train(model, SGD(model.parameters(), lr=0.1), loss, 5)
    assert asked == [0, 1, 2, 3, 4]


def test_reports_come_every_so_often_and_at_the_end(capfd):
    model, seen = Point(0.0), []

    def report(steps, losses):
        model.eval()
        seen.append((steps, len(losses)))
        return f"after {steps}"

    def loss(step):
        assert model.training
        return quadratic(model)(step)

    train(model, SGD(model.parameters(), lr=0.1), loss, 7, every=3, report=report)
    assert seen == [(3, 3), (6, 6), (7, 7)]
    assert [line for line in capfd.readouterr().err.splitlines() if "after" in line] == [
        "after 3",
        "after 6",
        "after 7",
    ]
    assert not model.training


def test_no_steps_change_nothing():
    model = Point(1.0)
    assert train(model, SGD(model.parameters(), lr=0.1), quadratic(model), 0) == []
    assert model.at.item() == 1


def test_it_stops_where_the_loss_is_no_number():
    model = Point(1.0)
    nan_at_2 = [1.0, 1.0, float("nan"), 1.0]
    with pytest.raises(NonFiniteError, match="loss is nan at step 2"):
        train(
            model,
            SGD(model.parameters(), lr=0.1),
            lambda step: (model.at * nan_at_2[step]).sum(),
            4,
        )


def test_on_the_cpu_it_stops_at_once():
    model, asked = Point(1.0), []

    def loss(step):
        asked.append(step)
        return (model.at * [1.0, math.inf, 1.0][step]).sum()

    with pytest.raises(NonFiniteError, match="loss is inf at step 1"):
        train(model, SGD(model.parameters(), lr=0.1), loss, 3)
    assert asked == [0, 1]


@pytest.mark.parametrize(("steps", "every", "reads"), [(25, None, 3), (25, 5, 5), (3, 2, 2)])
def test_a_gpu_is_waited_for_every_ten_steps_and_before_reports(steps, every, reads):
    def run(device):
        model = Point(0.0).to(device)
        return train(
            model,
            SGD(model.parameters(), lr=0.25),
            quadratic(model),
            steps,
            clip=1.0,
            every=every,
            report=lambda steps, losses: f"{len(losses)}",
        )

    before = fake_cupy.synchronizations
    found = run("standin")
    assert fake_cupy.synchronizations == before + reads
    assert found == pytest.approx(run("cpu"), rel=1e-5)


def test_the_error_names_the_step_at_which_a_gpu_lost_the_loss():
    model, asked = Point(1.0).to("standin"), []

    def loss(step):
        asked.append(step)
        return (model.at * (math.nan if step == 2 else 1.0)).sum()

    schedule = {2: 0.5}
    with pytest.raises(NonFiniteError, match=r"at step 2, with a learning rate of 0\.5"):
        optimizer = SGD(model.parameters(), lr=0.1)
        train(model, optimizer, loss, 30, schedule=lambda step: schedule.get(step, 0.1))
    assert asked == list(range(10))


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [(-1, DataError, "-1 steps"), (2.5, DTypeError, "steps is 2.5; it must be a whole number")],
)
def test_steps_cannot_be_negative_or_broken(steps, error, words):
    model = Point(1.0)
    with pytest.raises(error, match=words):
        train(model, SGD(model.parameters(), lr=0.1), quadratic(model), steps)


def test_the_same_run_twice_is_the_same_to_the_last_bit():
    def run():
        ta.manual_seed(3)
        model = ta.nn.Sequential(ta.nn.Linear(4, 8), ta.nn.Dropout(0.5), ta.nn.Linear(8, 1))
        x = ta.tensor(np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32))
        return train(
            model, SGD(model.parameters(), lr=1e-3), lambda step: (model(x) ** 2).sum(), 10
        )

    assert run() == run()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("result", "words"),
    [(1.0, "a float"), (None, "a NoneType"), ((1.0, 2), "a float"), ((1, 2, 3), "3 things")],
)
def test_a_loss_that_is_no_tensor(result, words, workers):
    model = Point(0.0)
    optimizer, batch = SGD(model.parameters(), lr=0.1), np.zeros((2, 1))
    with pytest.raises(DataError, match=f"loss returned {words}; it must return a scalar tensor"):
        train(model, optimizer, lambda *_: result, 1, batch=lambda step: batch, workers=workers)


def test_a_loss_of_the_step_alone_that_is_no_tensor():
    model = Point(0.0)
    with pytest.raises(DataError, match="loss returned a float"):
        train(model, SGD(model.parameters(), lr=0.1), lambda step: 1.0, 1)


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        (lambda model, x, y: (model(x) - y).sum(), "(model, x, y)"),
        (lambda model, *, x: model(x).sum(), "(model, *, x)"),
        (ta.mse_loss, "(prediction, target, "),
    ],
)
def test_a_loss_of_a_batch_without_a_batch(loss, named):
    model = Point(0.0).eval()
    told = f"train: batch= is missing: loss takes {re.escape(named)}.*, and without a batch it is"
    with pytest.raises(DataError, match=told):
        train(model, SGD(model.parameters(), lr=0.1), loss, 1)
    assert not model.training  # nothing has begun


def test_a_loss_of_the_step_may_take_more():
    model = Point(0.0)
    optimizer = SGD(model.parameters(), lr=0.0)
    for loss in (
        lambda step, power=2: (model.at - 3.0).sum() ** power,
        lambda *given: quadratic(model)(*given),
        partial(lambda power, step: (model.at - 3.0).sum() ** power, 2),
        [quadratic(model)(0)].__getitem__,  # of which Python may not know what it takes
    ):
        assert train(model, optimizer, loss, 1) == [9.0]
