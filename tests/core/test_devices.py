"""Two GPUs at once, on the stand-in: kept apart, and each computing what is its own."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.backend.test_ops_on_standin import two_orders
from tests.ops.test_every_op import CASES, check_values, draw_arrays, tensors
from tinygrad_attn import nn
from tinygrad_attn.core import walk
from tinygrad_attn.errors import DeviceError
from tinygrad_attn.models.gpt import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, clip_grad_norm_


@pytest.fixture(autouse=True)
def two():
    """Both devices of the stand-in named, the first of them in use."""
    ta.zeros(1, device="standin:0"), ta.zeros(1, device="standin:1")


def pair():
    return ta.ones(2, 2, device="standin:0"), ta.ones(2, 2, device="standin:1")


MIXED = {
    "add": lambda x, y: x + y,
    "in a list": lambda x, y: ta.concatenate([x, y]),
    "matmul": lambda x, y: x @ y,
    "fused": lambda x, y: ta.linear(x, y),
    "where": lambda x, y: ta.where(x > 0, x, y),
    "an index": lambda x, y: x[(y[0] * 0).astype("int64")],
    "ids": lambda x, y: ta.embedding((y * 0).astype("int64"), x),
    "a target": lambda x, y: ta.cross_entropy(x, (y[0] * 0).astype("int64")),
    "attention": lambda x, y: ta.scaled_dot_product_attention(x[None], y[None], x[None]),
    "write": lambda x, y: x.__setitem__(0, y[0]),
    "a gradient": lambda x, y: x.requires_grad_().sum(axis=0).backward(y[0]),
}


@pytest.mark.parametrize("name", MIXED)
def test_two_gpus_beside_each_other_are_an_error(name):
    x, y = pair()
    for operands in ((x, y), (y, x)):
        with pytest.raises(DeviceError, match=r'is on "standin:[01]".*"standin:[01]".*\.to\('):
            MIXED[name](*operands)


def test_it_is_said_who_is_where():
    x, y = pair()
    with pytest.raises(DeviceError) as error:
        x + y
    assert str(error.value) == (
        'add: a is on "standin:0", b is on "standin:1"; nothing moves by itself: '
        "bring them together with .to(device)"
    )


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=1, phases=[Phase.generate])
@given(data=st.data())
def test_an_op_computes_where_its_operands_are(case, data):
    arrays = draw_arrays(case, data)
    there = two_orders(case, tensors(arrays, device="standin:1"))
    here = two_orders(case, tensors(arrays))
    for y, expected in zip(there, here, strict=True):
        assert y.device == "standin:1"
        check_values(y, expected.numpy(), 1e-9)


def test_a_gpt_learns_on_the_second_gpu():
    def losses(device):
        ta.manual_seed(0)
        config = GPTConfig(11, 8, n_layer=1, n_head=2, n_embd=8, dropout=0.1)
        model = GPT(config).to(device)
        optimizer = AdamW(model.parameters(), lr=1e-2)
        ids = ta.randint(0, 11, (2, 9)).to(device)
        found = []
        for _ in range(2):
            loss = ta.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            found.append(loss.item())
        return [*found, *model.eval().generate(ids[:, :2], 3, temperature=0).reshape(-1).tolist()]

    assert losses("standin:1") == pytest.approx(losses("cpu"), rel=1e-5)


def test_a_graph_may_run_through_both():
    x = ta.tensor([1.0, 2.0], device="standin:0", requires_grad=True)
    y = (x * x).to("standin:1")
    (x.to("standin:1") * y + y).sum().backward()
    assert x.grad.device == "standin:0"
    np.testing.assert_allclose(x.grad.numpy(), 3 * x.numpy() ** 2 + 2 * x.numpy())


def test_the_state_of_an_optimizer_does_not_follow_by_itself():
    layer = nn.Linear(2, 2).to("standin:0")
    optimizer = AdamW(layer.parameters())
    for device in ("standin:0", "standin:1"):
        layer.to(device)(ta.ones(1, 2, device=device)).sum().backward()
        if device == "standin:0":
            optimizer.step()
    with pytest.raises(DeviceError, match='is on "standin:1" but its state is not'):
        optimizer.step()


def test_the_engine_looks_only_once_a_second_gpu_is_named():
    assert walk._pull_back.__module__ == "tinygrad_attn.core.devices"  # the fixture named it
    program = (
        "import tinygrad_attn as ta; from tests import standin; from tinygrad_attn.core import Op, "
        "Primitive; ta.zeros(1, device='standin'), ta.zeros(1, device='standin:0'); "
        "quick = Primitive.__call__ is not Op.__call__; ta.zeros(1, device='standin:1'); "
        "print(quick, Primitive.__call__ is Op.__call__)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.split() == ["True", "True"], run.stderr
