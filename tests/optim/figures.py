"""The little run whose end PyTorch was asked for."""

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import nn


def check_figures(kind, options, expected):
    """Six steps of (0.5, −1, 2) along the gradients sin(t + i) end where PyTorch's do."""
    p = nn.Parameter(np.array([0.5, -1.0, 2.0]))
    optimizer = kind([p], **options)
    for t in range(6):
        p.grad = ta.tensor(np.sin(t + np.arange(3.0)))
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-13)
