"""Every elementwise op: where it is smooth, and the NumPy function that it follows."""

import math

import numpy as np

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape
from tinygrad_attn.ops.choice import keep

WIDE = (-2, 2)
POSITIVE = (0.4, 2.5)
NEGATIVE = (-2.5, -0.4)
UNIT = (-0.8, 0.8)
FRACTION = (0.1, 0.9)
TENS = (0.6, 9.4)  # rounded, never 0


def one(name, domain=WIDE, reference=None, **options):
    """The op of one argument called ``name``, by default against NumPy's function of that name."""
    reference = reference or getattr(np, name)
    return Case(name, getattr(ta, name), (domain,), reference, **options)


def two(name, a=WIDE, b=WIDE, reference=None, label="", **options):
    """The same for an op of two arguments; ``label`` tells several cases of one op apart."""
    reference = reference or getattr(np, name)
    return Case(f"{name} {label}".strip(), getattr(ta, name), (a, b), reference, **options)


def by_element(function):
    """A function of floats, such as those of ``math``, as one of arrays."""
    return np.vectorize(function, otypes=[float])


def checkers(*xs):
    """True at every other place of the common shape."""
    shape = np.broadcast_shapes(*[x.shape for x in xs])
    return np.arange(math.prod(shape)).reshape(shape) % 2 == 0


def mask(*xs):
    """The same as a tensor beside them."""
    return ta.tensor(checkers(*xs)).to(xs[0].device)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log(1 + np.exp(x))


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def leaky_relu(x, slope=0.01):
    return np.where(x > 0, x, slope * x)


ARITHMETIC = [
    two("add", integer=True),
    two("subtract", integer=True),
    two("multiply", integer=True),
    two("divide", WIDE, TENS, integer=True),
    two("power", POSITIVE, WIDE),
    Case("power 0", lambda x: x**0, (WIDE,), lambda x: x**0, integer=True),
    Case("power 1", lambda x: x**1, (WIDE,), lambda x: x**1, integer=True),
    Case("power 2", lambda x: x**2, (WIDE,), lambda x: x**2, integer=True),
    Case("power 3", lambda x: x**3, (WIDE,), lambda x: x**3, integer=True, order=3),
    Case("power 7", lambda x: x**7, (UNIT,), lambda x: x**7, integer=True),
    Case("power -2", lambda x: x**-2, (NEGATIVE,), lambda x: x**-2),
    Case("power 1.5", lambda x: x**1.5, (POSITIVE,), lambda x: x**1.5),
    Case("2 to the power", lambda p: 2**p, (WIDE,), lambda p: 2**p),
    one("negative", integer=True),
    one("positive", integer=True),
    one("square", integer=True),
    one("sqrt", POSITIVE, integer=True),
    one("rsqrt", POSITIVE, lambda x: 1 / np.sqrt(x), integer=True),
    one("reciprocal", NEGATIVE, lambda x: 1 / x, integer=True),
    one("absolute", POSITIVE, integer=True),
    Case("absolute of negatives", ta.abs, (NEGATIVE,), np.abs, integer=True),
    one("sign", NEGATIVE, integer=True),
    Case("lerp", ta.lerp, (WIDE,) * 3, lambda a, b, w: (1 - w) * a + w * b, integer=True),
]

CHOICES = [
    two("maximum", NEGATIVE, POSITIVE, label="the second", integer=True),
    two("maximum", POSITIVE, NEGATIVE, label="the first", integer=True),
    two("minimum", NEGATIVE, POSITIVE, label="the first", integer=True),
    two("minimum", POSITIVE, NEGATIVE, label="the second", integer=True),
    Case("clip inside", lambda x: ta.clip(x, -3, 3), (WIDE,), lambda x: x, integer=True),
    Case("clip outside", lambda x: ta.clip(x, max=-3), (WIDE,), lambda x: np.minimum(x, -3)),
    Case("clip by low", ta.clip, (NEGATIVE, POSITIVE, (3, 4)), np.clip, integer=True),
    Case("clip by high", ta.clip, ((3, 4), NEGATIVE, POSITIVE), np.clip, integer=True),
    Case(
        "where",
        lambda a, b: ta.where(mask(a, b), a, b),
        (WIDE, WIDE),
        lambda a, b: np.where(checkers(a, b), a, b),
    ),
    Case("keep", lambda x: keep(x, mask(x)), (WIDE,), lambda x: x * checkers(x)),
    one("nan_to_num", integer=True),
]

FUNCTIONS = [
    one("exp", integer=True),
    one("expm1", integer=True),
    one("exp2", integer=True),
    one("log", POSITIVE, integer=True),
    one("log1p", POSITIVE, integer=True),
    one("log2", POSITIVE),
    one("log10", POSITIVE),
    one("sin", integer=True),
    one("cos", integer=True),
    one("tan", (-1, 1), integer=True),
    one("arcsin", UNIT, integer=True),
    one("arccos", UNIT, integer=True),
    one("arctan", integer=True),
    one("sinh", integer=True),
    one("cosh", integer=True),
    one("tanh", integer=True),
    one("arcsinh", integer=True),
    one("arccosh", (1.3, 3), integer=True),
    one("arctanh", (-0.45, 0.45), integer=True),
    one("erf", reference=by_element(math.erf), integer=True),
    one("erfc", reference=by_element(math.erfc), integer=True),
    two("hypot", POSITIVE, WIDE, integer=True),
    two("arctan2", POSITIVE, WIDE, integer=True),
    two("logaddexp", integer=True),
    two("xlogy", WIDE, POSITIVE, lambda a, b: np.where(a == 0, 0, a * np.log(b)), integer=True),
]

ACTIVATIONS = [
    one("sigmoid", reference=sigmoid, integer=True),
    one("log_sigmoid", reference=lambda x: -softplus(-x), integer=True),
    one("logit", FRACTION, lambda x: np.log(x) - np.log(1 - x)),
    Case("logit eps", lambda x: ta.logit(x, 0.05), (FRACTION,), lambda x: np.log(x / (1 - x))),
    one("softsign", POSITIVE, lambda x: x / (1 + abs(x)), integer=True),
    one("relu", POSITIVE, lambda x: np.maximum(x, 0), integer=True),
    Case("relu of negatives", ta.relu, (NEGATIVE,), lambda x: np.maximum(x, 0), integer=True),
    one("relu6", (0.5, 5.5), lambda x: np.clip(x, 0, 6), integer=True),
    Case("relu6 saturated", ta.relu6, ((6.6, 9),), lambda x: np.clip(x, 0, 6), integer=True),
    one("leaky_relu", POSITIVE, leaky_relu),
    two("leaky_relu", NEGATIVE, WIDE, leaky_relu, label="learned", integer=True),
    one("elu", POSITIVE, elu),
    two("elu", NEGATIVE, WIDE, elu, label="learned", integer=True),
    one("selu", NEGATIVE, lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    one("softplus", reference=softplus, integer=True),
    one("silu", reference=lambda x: x * sigmoid(x), integer=True),
    one("mish", reference=lambda x: x * np.tanh(softplus(x)), integer=True),
    Case(
        "glu",
        lambda x: ta.glu(ta.concatenate([x, 2 * x], axis=-1)),
        (WIDE,),
        lambda x: x * sigmoid(2 * x),
        shapes=one_shape(min_dims=1),
    ),
]

STEPS = [
    one("floor", FRACTION, integer=True),
    one("ceil", FRACTION, integer=True),
    one("trunc", FRACTION, integer=True),
    one("round", (0.6, 1.4), integer=True),
    Case("round to tenths", lambda x: ta.round(x, 1), ((0.06, 0.14),), lambda x: np.round(x, 1)),
    two("floor_divide", (6.1, 6.4), (2.6, 2.9), integer=True),
    two("remainder", (6.1, 6.4), (2.6, 2.9), integer=True),
    two("remainder", (-6.4, -6.1), (2.6, 2.9), label="of negatives", integer=True),
]

QUESTIONS = [
    *[
        two(name, order=0, integer=True)
        for name in (
            "equal not_equal less less_equal greater greater_equal isclose "
            "logical_and logical_or logical_xor"
        ).split()
    ],
    *[one(name, order=0, integer=True) for name in "isnan isinf isfinite logical_not".split()],
    Case("a & b", lambda a, b: (a > 0) & (b > 0), (WIDE,) * 2, lambda a, b: (a > 0) & (b > 0), 0),
    Case("a | b", lambda a, b: (a > 0) | (b > 0), (WIDE,) * 2, lambda a, b: (a > 0) | (b > 0), 0),
    Case("a ^ b", lambda a, b: (a > 0) ^ (b > 0), (WIDE,) * 2, lambda a, b: (a > 0) ^ (b > 0), 0),
    Case("~x", lambda x: ~(x > 0), (WIDE,), lambda x: ~(x > 0), 0),
]

CASES = [*ARITHMETIC, *CHOICES, *FUNCTIONS, *ACTIVATIONS, *STEPS, *QUESTIONS]
