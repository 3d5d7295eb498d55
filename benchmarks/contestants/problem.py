"""The one problem of the step benchmark: a small GPT, its weights, and a batch to learn.

Every contestant reads the same file, so all start from the same weights and see the same tokens.
The model is GPT-2's: pre-norm, learned positions, a tied head, biases everywhere, gelu in its tanh
form, an MLP four times as wide; no dropout, all in float32. The weights have the names and shapes
of ``tinygrad_attn.models.gpt``.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["ADAMW", "CONFIGS", "LAYER_NORM_EPS", "Problem", "Sizes"]

ADAMW = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
LAYER_NORM_EPS = 1e-5


class Sizes(NamedTuple):
    """Vocabulary, length, batch, width, layers and heads."""

    V: int
    T: int
    B: int
    D: int
    L: int
    H: int


CONFIGS = {
    "S": Sizes(96, 32, 32, 64, 2, 4),
    "A": Sizes(96, 64, 32, 128, 4, 4),
    "C": Sizes(96, 128, 16, 256, 4, 8),
    "D": Sizes(512, 256, 8, 384, 6, 6),
}


class Problem(NamedTuple):
    """Sizes, weights by name, and a batch: ids and target (B, T) in 0..V−1."""

    sizes: Sizes
    weights: dict
    ids: np.ndarray
    target: np.ndarray

    @classmethod
    def draw(cls, sizes, seed=0):
        """Random weights, none of them at a value where a wrong gradient could hide, and tokens."""
        rng = np.random.default_rng(seed)
        weights = {}
        for name, shape in _shapes(sizes).items():
            centre = 1 if "norm" in name and name.endswith("weight") else 0
            is_product = name.startswith("blocks") and len(shape) == 2
            spread = shape[1] ** -0.5 if is_product else 0.1 if "norm" in name else 0.02
            weights[name] = rng.normal(centre, spread, shape).astype(np.float32)
        tokens = rng.integers(0, sizes.V, (sizes.B, sizes.T + 1))
        ids, target = tokens[:, :-1].copy(), tokens[:, 1:].copy()
        return cls(sizes, weights, ids, target)

    def save(self, path):
        """Write it to one .npz file."""
        batch = {"sizes": np.array(self.sizes), "ids": self.ids, "target": self.target}
        np.savez(Path(path), **self.weights, **batch)

    @classmethod
    def load(cls, path):
        """Read what ``save`` wrote."""
        with np.load(path) as file:
            arrays = dict(file)
        sizes = Sizes(*map(int, arrays.pop("sizes")))
        ids, target = arrays.pop("ids"), arrays.pop("target")
        return cls(sizes, arrays, ids, target)


def _shapes(sizes):
    """{name: shape} of all weights, in the order of the model."""
    D = sizes.D
    shapes = {"tokens.weight": (sizes.V, D), "positions.weight": (sizes.T, D)}
    for i in range(sizes.L):
        layers = {"norm1": (D,), "norm2": (D,)}
        layers |= {f"attention.{name}": (D, D) for name in ("query", "key", "value", "out")}
        layers |= {"mlp.up": (4 * D, D), "mlp.down": (D, 4 * D)}
        for name, shape in layers.items():
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
    return {**shapes, "norm.weight": (D,), "norm.bias": (D,)}
