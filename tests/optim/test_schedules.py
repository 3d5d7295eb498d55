"""Schedules: the values at the corners, and between them the formulas."""

import math

import pytest

from tinygrad_attn import optim
from tinygrad_attn.errors import ShapeError


def rates(schedule, steps):
    return [schedule(step) for step in steps]


def test_constant():
    assert rates(optim.constant(0.3), (0, 1, 10**6)) == [0.3] * 3


def test_a_warm_up_rises_to_the_first_rate_of_what_follows():
    schedule = optim.linear_warmup(4, optim.linear(2.0, steps=10))
    assert rates(schedule, range(4)) == [0.5, 1.0, 1.5, 2.0]
    assert rates(schedule, (4, 5, 14)) == [2.0, 2.0 * 0.9, 0.0]
    assert optim.linear_warmup(0, optim.constant(1.0))(0) == 1.0


def test_a_schedule_may_be_any_function():
    assert optim.linear_warmup(2, lambda step: 1 / (1 + step))(4) == 1 / 3


def test_linear_goes_straight_down_to_its_floor_and_stays():
    schedule = optim.linear(1.0, steps=12, warmup=2, floor=0.5)
    assert rates(schedule, (0, 1, 2, 7, 12, 100)) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.5]
    assert optim.linear(1.0, steps=4)(0) == 1.0


def test_cosine_falls_slowly_fast_and_slowly():
    schedule = optim.cosine(3.0, steps=110, warmup=10, floor=1.0)
    assert rates(schedule, (0, 4, 9, 10)) == pytest.approx([0.3, 1.5, 3.0, 3.0])
    for step in (20, 60, 109):
        part = (step - 10) / 100
        expected = 1 + 2 * 0.5 * (1 + math.cos(math.pi * part))
        assert schedule(step) == pytest.approx(expected)
    assert schedule(60) == pytest.approx(2.0)
    assert rates(schedule, (110, 10**6)) == [1.0, 1.0]


def test_inverse_sqrt_is_that_of_the_first_transformer():
    schedule = optim.inverse_sqrt(0.1, warmup=4000)
    for step in (0, 100, 3999, 4000, 10**5):
        n = step + 1
        expected = 0.1 * math.sqrt(4000) * min(n**-0.5, n * 4000**-1.5)
        assert schedule(step) == pytest.approx(expected)
    assert max(rates(schedule, range(3990, 4010))) == schedule(3999) == 0.1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.constant(-1), "constant: lr is -1; it must not be negative"),
        (lambda: optim.linear_warmup(-1, optim.constant(1)), "linear_warmup: steps is -1"),
        (lambda: optim.cosine(1.0, 0), "cosine: warmup is 0, steps is 0; warmup must be less"),
        (lambda: optim.linear(1.0, 10, 10), "linear: warmup is 10, steps is 10"),
        (lambda: optim.cosine(math.nan, 10), "cosine: lr is nan"),
        (lambda: optim.linear(1.0, 10, floor=-0.1), r"linear: floor is -0\.1"),
        (lambda: optim.inverse_sqrt(1.0, 0), "inverse_sqrt: warmup is 0; it must be at least 1"),
    ],
)
def test_arguments_are_checked(make, text):
    with pytest.raises(ShapeError, match=text):
        make()
