"""Every op on the stand-in for CuPy: values, first and second derivatives equal to the CPU's.

An op that calls NumPy by name, asks CuPy for what it has not, or leaves something on the host,
fails here. ``pytest -m gpu`` runs the same tests on a GPU.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.conftest import GPU
from tests.ops.test_every_op import CASES, check_values, draw_arrays, tensors
from tests.standin import fake_cupy
from tinygrad_attn.models.gpt import GPT, GPTConfig
from tinygrad_attn.optim import AdamW
from tinygrad_attn.trees import tensors_in

DEVICES = pytest.mark.parametrize("device", ["standin", GPU])


@DEVICES
@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=4)
@given(data=st.data())
def test_an_op_on_the_standin_equals_the_cpu(case, data, device):
    arrays = draw_arrays(case, data)
    there = two_orders(case, tensors(arrays, device=device))
    here = two_orders(case, tensors(arrays))
    assert len(there) == len(here)
    for y, expected in zip(there, here):
        assert y.device == f"{device}:0" and y.dtype == expected.dtype
        check_values(y, expected.numpy(), 1e-9)


def two_orders(case, xs):
    """The outputs of a case, the gradients of a weighted sum of them, and of these in turn."""
    for x in xs if case.order else ():
        x.requires_grad_()
    found = tensors_in(case.fn(*xs))
    ends = found
    for _ in range(min(case.order, 2)):
        ends = [y for y in ends if y.requires_grad]
        if ends:
            gradients = ta.grad(weighted_sum(ends), xs, create_graph=True, allow_unused=True)
            ends = [g for g in gradients if g is not None]
            found = found + ends
    return found


def weighted_sum(ys):
    """Σ w·y with weights that differ from neighbour to neighbour, and are nowhere 0."""
    weights = [np.cos(np.arange(y.size) % 3).reshape(y.shape) for y in ys]
    pairs = zip(ys, tensors(weights, device=ys[0].device))
    return ta.stack([ta.sum(y * w) for y, w in pairs]).sum()


def test_a_training_step_waits_for_nothing():
    rng = np.random.default_rng(0)
    x, w, b = tensors(
        [rng.standard_normal(shape) for shape in ((4, 3), (3, 2), 2)], device="standin"
    )
    w.requires_grad_()
    b.requires_grad_()
    before = fake_cupy.synchronizations
    y = ta.matmul(x, w) + b
    (ta.logsumexp(y, axis=-1) - y[:, 0]).mean().backward()
    assert w.grad.device == b.grad.device == "standin:0"
    assert fake_cupy.synchronizations == before


@DEVICES
def test_a_gpt_learns_and_speaks_on_the_standin_as_on_the_cpu(device):
    assert life_of_a_gpt(device) == pytest.approx(life_of_a_gpt("cpu"), rel=1e-5)


def life_of_a_gpt(device):
    """The losses of three steps, with dropout, and then the tokens that it generates."""
    ta.manual_seed(0)
    config = GPTConfig(vocab_size=11, block_size=16, n_layer=2, n_head=2, n_embd=8, dropout=0.1)
    model = GPT(config).to(device)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    ids = ta.randint(0, 11, (4, 9)).to(device)
    losses = []
    for _ in range(3):
        loss = ta.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tokens = model.eval().generate(ids[:1, :3], 5, top_k=5, generator=ta.Generator(0))
    return [*losses, *tokens.reshape(-1).tolist()]
