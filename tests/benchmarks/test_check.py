"""Who computes something else is refused, and told what."""

import numpy as np
import pytest

from benchmarks.check import Refused, check


def arrays(**changes):
    weights = np.linspace(-2, 3, 12, dtype="float32").reshape(3, 4)
    return {"loss": np.float64(2.5), "losses": np.array([2.5, 2.4]), "w": weights, **changes}


def test_rounding_is_no_difference():
    right = arrays()
    check("a peer", arrays(w=right["w"] * (1 + 1e-6), loss=np.float64(2.5 + 1e-6)), right)


def test_noise_where_the_gradient_is_zero_is_no_difference():
    noise = np.array([1e-9, -3e-9], dtype="float32")
    check("a peer", arrays(b=noise), arrays(b=-noise))


def planted(value, at=(1, 2)):
    wrong = arrays()["w"].copy()
    wrong[at] = value
    return wrong


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"w": planted(0.72727275 + 0.01)}, "the gradient of w differs by 0.01, 0.0003 is allowed"),
        ({"w": planted(np.nan)}, "the gradient of w differs by nan"),
        ({"w": arrays()["w"] * 1.001}, "the gradient of w differs by 0.003"),
        ({"w": arrays()["w"].T}, r"w is \(4, 3\); it must be \(3, 4\)"),
        ({"loss": np.float64(2.6)}, "loss differs by 0.1, 0.00025 is allowed"),
        ({"losses": np.array([2.5, 2.45])}, "losses differs by 0.05"),
        ({"b": np.zeros(3)}, "only one of the two has a gradient of b"),
    ],
)
def test_a_fault_is_refused_and_named(fault, message):
    with pytest.raises(Refused, match=f"a peer: refused: {message}"):
        check("a peer", arrays(**fault), arrays())
