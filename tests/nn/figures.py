"""Layers with weights and inputs given by a formula, so that figures from PyTorch can be compared.

``make_pytorch_figures.py`` has put PyTorch's layers of the same names through the same cases and
written the results into ``pytorch_figures.json``. No test needs PyTorch.
"""

import json
import math
from pathlib import Path

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import nn

FIGURES = Path(__file__).with_name("pytorch_figures.json")

KEYS = np.array([[True, True, True, False], [True, True, False, False]])  # which of 4 keys are real

# name -> (class, arguments, options, shapes of the inputs, masks by our names)
CASES = {
    "self-attention": ("MultiheadAttention", (4, 2), {}, [(2, 3, 4)], {"causal": True}),
    "cross-attention": (
        "MultiheadAttention",
        (4, 2),
        {"kdim": 3, "vdim": 5},
        [(2, 2, 4), (2, 4, 3), (2, 4, 5)],
        {"key_mask": KEYS},
    ),
    "biased attention": (
        "MultiheadAttention",
        (4, 2),
        {"bias": False},
        [(2, 3, 4), (2, 4, 4)],
        {"bias": np.arange(12.0, dtype=np.float32).reshape(3, 4) % 5},
    ),
    "encoder, post-norm": (
        "TransformerEncoderLayer",
        (4, 2, 6, 0.1, "gelu"),
        {},
        [(2, 4, 4)],
        {"key_mask": KEYS},
    ),
    "encoder, pre-norm": (
        "TransformerEncoderLayer",
        (4, 2, 6),
        {"norm_first": True},
        [(2, 4, 4)],
        {"causal": True},
    ),
    "decoder, post-norm": (
        "TransformerDecoderLayer",
        (4, 2, 6),
        {},
        [(2, 3, 4), (2, 4, 4)],
        {"causal": True, "cross_key_mask": KEYS},
    ),
    "decoder, pre-norm": (
        "TransformerDecoderLayer",
        (4, 2, 6, 0.1, "gelu"),
        {"norm_first": True, "bias": False},
        [(2, 4, 4), (2, 3, 4)],
        {"key_mask": KEYS},
    ),
    "transformer": (
        "Transformer",
        (4, 2, 2, 1, 6),
        {},
        [(2, 4, 4), (2, 3, 4)],
        {"causal": True, "source_key_mask": KEYS},
    ),
}


def pattern(shape, start=0.0):
    """Numbers in ±0.5 that do not repeat: sin(start + 0.7·i)/2."""
    return (
        (0.5 * np.sin(start + 0.7 * np.arange(math.prod(shape)))).reshape(shape).astype(np.float32)
    )


def weights(shapes):
    """{name: array} for {name: shape}: a pattern for each, around 1 for the factors of norms."""
    return {
        name: pattern(shapes[name], i) + ("norm" in name and name.endswith("weight"))
        for i, name in enumerate(sorted(shapes))
    }


def digest(array):
    """One number that changes with every element and with their order."""
    return float((array * pattern(array.shape, 5)).sum())


def load():
    """{name of a case: {"y": its elements, "gradients": {name: digest}}} as PyTorch has it."""
    return json.loads(FIGURES.read_text(encoding="utf-8"))["cases"]


def compare(name):
    """Put our layer of this name through a case, and hold it to PyTorch's figures."""
    kind, args, options, shapes, masks = CASES[name]
    layer = getattr(nn, kind)(*args, **options).eval()
    layer.load_state_dict(weights({name: p.shape for name, p in layer.state_dict().items()}))
    inputs = [ta.tensor(pattern(shape, i), requires_grad=True) for i, shape in enumerate(shapes)]
    y = layer(*inputs, **{k: v if v is True else ta.tensor(v) for k, v in masks.items()})
    y.backward(ta.tensor(pattern(y.shape, 3)))
    expected = load()[name]
    np.testing.assert_allclose(y.numpy().ravel(), expected["y"], rtol=1e-4, atol=2e-6)
    gradients = {f"input {i}": x.grad for i, x in enumerate(inputs)}
    gradients |= {name: p.grad for name, p in layer.named_parameters()}
    assert set(gradients) == set(expected["gradients"])
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            digest(gradient.numpy()),
            expected["gradients"][name],
            rtol=1e-4,
            atol=1e-5,
            err_msg=f"the gradient of {name}",
        )
