"""Ops that no table of cases can hold: they make tensors from nothing, or answer with no tensor.

Each is called with a device. What is drawn is drawn from a seed.
"""

import numpy as np

import tinygrad_attn as ta

__all__ = ["MADE", "MADE_ON_THE_HOST"]


def seed():
    return ta.Generator(0)


def line(device):
    return ta.tensor([1.0, 2.0, 3.0], device=device)


MADE = {
    "tensor": lambda device: ta.tensor([[1, 2], [3, 4]], device=device),
    "asarray": lambda device: ta.asarray([1.0, 2.0], device=device),
    "to": lambda device: ta.to(ta.tensor([1.0, 2.0]), device, ta.float64),
    "zeros": lambda device: ta.zeros(2, 3, device=device),
    "ones": lambda device: ta.ones(2, 3, device=device),
    "empty": lambda device: ta.empty(2, 0, device=device),
    "full": lambda device: ta.full((2, 3), 0.5, device=device),
    "zeros_like": lambda device: ta.zeros_like(line(device)),
    "ones_like": lambda device: ta.ones_like(line(device)),
    "empty_like": lambda device: ta.empty_like(line(device)[:0]),
    "full_like": lambda device: ta.full_like(line(device), 7),
    "arange": lambda device: ta.arange(1, 9, 2, device=device),
    "linspace": lambda device: ta.linspace(0, 1, 5, device=device),
    "eye": lambda device: ta.eye(2, 3, 1, device=device),
    "rand": lambda device: ta.rand(2, 3, generator=seed(), device=device),
    "randn": lambda device: ta.randn(2, 3, generator=seed(), device=device),
    "uniform": lambda device: ta.uniform(-1, 1, 5, generator=seed(), device=device),
    "normal": lambda device: ta.normal(1, 2, 5, generator=seed(), device=device),
    "truncated_normal": lambda device: ta.truncated_normal(
        shape=5, generator=seed(), device=device
    ),
    "randint": lambda device: ta.randint(0, 9, 5, generator=seed(), device=device),
    "randperm": lambda device: ta.randperm(5, generator=seed(), device=device),
    "bernoulli": lambda device: ta.bernoulli(line(device) / 4, generator=seed()),
    "multinomial": lambda device: ta.multinomial(line(device), 2, generator=seed()),
    "keep_mask": lambda device: ta.keep_mask((2, 5), 0.4, generator=seed(), device=device),
    "one_hot": lambda device: ta.one_hot(ta.tensor([2, 0], device=device), 3),
    "alibi_bias": lambda device: ta.alibi_bias(2, ta.arange(3, device=device)),
    "allclose": lambda device: ta.allclose(line(device), [1.0, 2.0, 3.0]),
    "array_equal": lambda device: ta.array_equal(line(device), [1.0, 2.0, 3.0]),
}

MADE_ON_THE_HOST = {
    "from_numpy": lambda device: ta.from_numpy(np.ones(3)),
    "from_dlpack": lambda device: ta.from_dlpack(np.ones(3)),
}
