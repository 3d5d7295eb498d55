"""The table of autocast: every op in it gives the dtype that it says, and the others the widest."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.test_every_op import CASES, check_values, draw_arrays, ops_of, tensors
from tinygrad_attn.backend import dtypes
from tinygrad_attn.core.autocast import RULES
from tinygrad_attn.ops.precision import FLOAT32, HALF
from tinygrad_attn.trees import tensors_in

HALVES = [ta.float16] if dtypes.bfloat16 is None else [ta.float16, dtypes.bfloat16]


def like(x, *shape):
    """A weight for x."""
    return ta.full(shape, 0.7, device=x.device)


CALLS = {  # op of the table -> a call of one tensor (1, 2, 3) of numbers in 0..1
    "matmul": lambda x: x @ x.mT,
    "linear": lambda x: ta.linear(x, like(x, 4, 3), like(x, 4)),
    "einsum": lambda x: ta.einsum("bij,bkj->bik", x, x),
    "conv1d": lambda x: ta.conv1d(x, like(x, 4, 2, 2), like(x, 4)),
    "scaled_dot_product_attention": lambda x: ta.scaled_dot_product_attention(x, x, x),
    "packed_linear": lambda x: ta.packed_linear(x, [like(x, 4, 3)] * 3, [like(x, 4)] * 3),
    "packed_attention": lambda x: ta.packed_attention(x, 1),
    "arccos": lambda x: ta.arccos(x * 0.5),
    "arcsin": lambda x: ta.arcsin(x * 0.5),
    "power": lambda x: x**2.5,
    "softplus": ta.softplus,
    "cosine_similarity": lambda x: ta.cosine_similarity(x, x[:, :1], axis=-1),
    "cdist": lambda x: ta.cdist(x, x[:, :1]),
    "norm": lambda x: ta.norm(x, ord=float("inf"), axis=-1),
    "cross_entropy": lambda x: ta.cross_entropy(x, ta.zeros(1, 2, dtype=ta.int64)),
    "nll_loss": lambda x: ta.nll_loss(x, ta.zeros(1, 2, dtype=ta.int64), reduction="none"),
    "binary_cross_entropy_with_logits": lambda x: ta.binary_cross_entropy_with_logits(x, x),
    "kl_div": lambda x: ta.kl_div(x, x, reduction="none"),
    "mse_loss": lambda x: ta.mse_loss(x, x[:, ::-1], reduction="none"),
    "l1_loss": lambda x: ta.l1_loss(x, x[:, ::-1], reduction="none"),
    "smooth_l1_loss": lambda x: ta.smooth_l1_loss(x, x[:, ::-1], reduction="none"),
    "huber_loss": lambda x: ta.huber_loss(x, x[:, ::-1], reduction="none"),
}

WIDEST = {  # some of the others, each with one argument, and then with a float32 one beside it
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "maximum": ta.maximum,
    "where": lambda x, y: ta.where(x > 0, x, y),
    "lerp": lambda x, y: ta.lerp(x, y, 0.5),
    "hypot": ta.hypot,
    "arctan2": ta.arctan2,
    "clip": lambda x, y: ta.clip(x, y, 2.0),
    "concatenate": lambda x, y: ta.concatenate([x, y]),
    "stack": lambda x, y: ta.stack([x, y]),
    "tanh": lambda x, y: ta.tanh(x + y),
    "relu": lambda x, y: ta.relu(x + y),
    "gelu": lambda x, y: ta.gelu(x + y),
    "silu": lambda x, y: ta.silu(x + y),
    "sigmoid": lambda x, y: ta.sigmoid(x + y),
    "sqrt": lambda x, y: ta.sqrt(x + y),
    "max": lambda x, y: ta.max(x + y),
    "getitem": lambda x, y: (x + y)[..., 0],
    "reshape": lambda x, y: (x + y).reshape(-1),
    "dropout": lambda x, y: ta.dropout(x + y, 0.5),
    "embedding": lambda x, y: ta.embedding([0, 0], x[0] + y[0]),
    "rope": lambda x, y: ta.rope(x + y, [0, 1], dims=2),
}


def numbers(dtype=ta.float32, device="cpu"):
    values = np.random.default_rng(0).uniform(0.1, 1, (1, 2, 3))
    return ta.tensor(values).to(device).astype(dtype).requires_grad_()


def test_the_table_names_ops_and_no_op_twice():
    ops = {op.name for op in ops_of(ta.ops)}
    assert len(RULES) == len(HALF) + len(FLOAT32)
    assert all(name in ops or hasattr(ta, name) for name in RULES)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("name", [*HALF, *FLOAT32])
def test_an_op_of_the_table_gives_its_dtype(name, half):
    call = CALLS.get(name) or getattr(ta, name)
    with ta.autocast(half):
        for given in (ta.float32, half):
            x = numbers(given)
            y = call(x)
            assert y.dtype == (half if name in HALF else ta.float32)
            y.backward(ta.ones_like(y))
            assert x.grad.dtype == given
            exact = call(x.detach().astype(ta.float64))
            assert exact.dtype == ta.float64  # which autocast leaves alone
            check_values(y, exact.numpy(), 2e-2 if half != ta.float16 else 3e-3)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("name", WIDEST)
def test_any_other_op_takes_the_widest_of_its_inputs(name, half):
    call = WIDEST[name]
    with ta.autocast(half):
        for first, second in ((half, half), (half, ta.float32), (ta.float32, half)):
            x, y = numbers(first), numbers(second)
            z = call(x, y)
            assert z.dtype == (half if first == second else ta.float32)
            (gx,) = ta.grad(z, [x], ta.ones_like(z))
            assert gx.dtype == first


def test_what_is_composed_of_others_does_as_these_do():
    x, half = numbers()[0], numbers(ta.float16)[0]
    with ta.autocast():
        products = ta.tensordot(x, x), ta.dot(x, x.mT), ta.inner(x, x), ta.vdot(x, x)
        assert {y.dtype for y in products} == {ta.float16}
        assert ta.nansum(half).dtype == ta.einsum("ij->i", half).dtype == ta.float32
        assert ta.outer(half, half).dtype == (1 / half).dtype == ta.float16
        assert ta.outer(x, half).dtype == (1 / x).dtype == ta.float32


@pytest.mark.parametrize("name", [*HALF, "softmax", "layer_norm", "sum", "cumsum"])
def test_the_standin_for_a_gpu_does_the_same(name):
    call = CALLS.get(name) or getattr(ta, name)
    results = []
    for device in ("cpu", "standin"):
        x = numbers(device=device)
        with ta.autocast():
            y = call(x)
        y.backward(ta.ones_like(y))
        results.append((y, x.grad))
    for here, there in zip(*results):
        assert there.device == "standin:0" and there.dtype == here.dtype
        check_values(there, here.numpy(), 2e-3)


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=2)
@given(data=st.data())
def test_every_op_computes_nearly_the_same_and_passes_back_float32(case, data):
    arrays = [array.astype(np.float32) for array in draw_arrays(case, data)]
    xs = tensors(arrays, np.float32)
    for x in xs if case.order else ():
        x.requires_grad_()
    with ta.autocast():
        outputs = tensors_in(case.fn(*xs))
        untouched = tensors_in(case.fn(*tensors(arrays)))
    for y, expected in zip(outputs, tensors_in(case.fn(*tensors(arrays, np.float32)))):
        assert y.dtype in (expected.dtype, ta.float16)
        check_values(y, expected.numpy(), 8e-3 if y.dtype == ta.float16 else 1e-5)
    for y, expected in zip(untouched, tensors_in(case.fn(*tensors(arrays)))):  # in float64
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y.numpy(), expected.numpy())
    ends = [y for y in outputs if y.requires_grad]
    if ends:
        for g in ta.grad(ends, xs, [ta.ones_like(y) for y in ends], allow_unused=True):
            assert g is None or g.dtype == ta.float32


PYTORCH = {  # "CUDA Ops that can autocast", PyTorch's documentation of torch.amp; our names
    "half": "matmul linear packed_linear einsum conv1d "
    "scaled_dot_product_attention packed_attention",
    "float32": "arccos arcsin cosh exp expm1 log log10 log1p log2 power prod reciprocal rsqrt sinh "
    "tan sum cumsum cumprod softmax log_softmax softplus layer_norm rms_norm norm normalize cdist "
    "cosine_similarity kl_div l1_loss smooth_l1_loss huber_loss mse_loss nll_loss cross_entropy "
    "binary_cross_entropy_with_logits logsumexp",
}


def test_the_table_is_pytorchs_and_what_is_of_the_same_kind():
    theirs = {name: rule for rule, names in PYTORCH.items() for name in names.split()}
    assert {name: RULES.get(name) for name in theirs} == theirs
    ours = "exp2 square mean var std nanmean logcumsumexp".split()
    assert RULES.keys() - theirs.keys() == set(ours)


def test_the_chapter_lists_the_table():
    page = (Path(__file__).parents[2] / "docs" / "09-mixed-precision.md").read_text("utf-8")
    parts = re.split(r"^\*\*In ", page, flags=re.M)[1:]
    for part, table in zip(parts, (HALF, FLOAT32)):
        listed = re.findall(r"`(\w+)`", part)
        assert sorted(listed) == sorted(table)
