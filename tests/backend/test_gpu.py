"""What a GPU is to be trusted with: dtypes, repeated runs, layers, training, memory.

Each test runs on the stand-in too, which holds the test itself to be right, the two over all ops
only with ``pytest -m slow``; ``pytest -m gpu`` runs it on a real GPU.
"""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.backend.test_ops_on_standin import weighted_sum
from tests.conftest import GPU
from tests.ops.test_every_op import CASES, SMOOTH, check_values, draw_arrays, forward_and_back
from tests.ops.test_every_op import tensors as float64_tensors
from tests.standin import fake_cupy
from tinygrad_attn import nn
from tinygrad_attn.backend import get_backend
from tinygrad_attn.models.gpt import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, clip_grad_norm_
from tinygrad_attn.trees import tensors_in

DEVICES = pytest.mark.parametrize("device", ["standin", GPU])
MANY = pytest.mark.parametrize("device", [pytest.param("standin", marks=pytest.mark.slow), GPU])
ONE_DRAW = settings(max_examples=1, phases=[Phase.generate], derandomize=True)


# ---- ops -----------------------------------------------------------------------------------------


@MANY
@pytest.mark.parametrize("case", CASES, ids=str)
@ONE_DRAW
@given(data=st.data())
def test_an_op_in_float32_is_near_float64_on_the_cpu(case, data, device):
    arrays = [array.astype("float32") for array in draw_arrays(case, data)]
    outputs, gradients = forward_and_back(case, float64_tensors(arrays, "float32", device))
    exact_outputs, exact_gradients = forward_and_back(case, float64_tensors(arrays))
    for y, exact in zip(outputs + gradients, exact_outputs + exact_gradients, strict=True):
        assert y.dtype == (np.float32 if exact.dtype == np.float64 else exact.dtype)
        check_values(y, exact.numpy(), 1e-3)


HALF = [  # the ops that mixed precision leaves in 16 bits, and those that it must not break
    ("matmul", lambda x: ta.matmul(x, x.swapaxes(-1, -2))),
    ("linear", lambda x: ta.linear(x, x)),
    ("softmax", lambda x: ta.softmax(x, axis=-1)),
    ("log_softmax", lambda x: ta.log_softmax(x, axis=-1)),
    ("gelu", lambda x: ta.gelu(x)),
    ("layer_norm", lambda x: ta.layer_norm(x, x[0], x[1])),
    ("rms_norm", lambda x: ta.rms_norm(x, x[0])),
    ("sum", lambda x: ta.sum(x, axis=0)),
    ("mean", lambda x: ta.mean(x)),
    ("attention", lambda x: ta.scaled_dot_product_attention(*[x.reshape(1, 8, 8)] * 3)),
]


@DEVICES
@pytest.mark.parametrize(("name", "op"), HALF, ids=[name for name, _ in HALF])
def test_an_op_in_float16_stays_there_and_is_near(name, op, device):
    host = np.random.default_rng(0).standard_normal((8, 8)).astype("float16")
    results = []
    for place, dtype in ((device, "float16"), ("cpu", "float64")):
        x = ta.tensor(host.astype(dtype), device=place, requires_grad=True)
        y = op(x)
        results.append((y, *ta.grad(y.astype("float32").sum(), [x])))
    for y, exact in zip(*results):
        assert y.dtype == np.float16
        check_values(y.astype("float64"), exact.numpy(), 2e-2)


@MANY
@pytest.mark.parametrize("case", SMOOTH, ids=str)
@ONE_DRAW
@given(data=st.data())
def test_an_op_gives_the_same_bits_every_time(case, data, device):
    arrays = [array.astype("float32") for array in draw_arrays(case, data)]
    runs = []
    for _ in range(3):
        outputs, gradients = forward_and_back(case, float64_tensors(arrays, "float32", device))
        runs.append([y.numpy().tobytes() for y in outputs + gradients])
    assert runs[0] == runs[1] == runs[2]


# ---- layers --------------------------------------------------------------------------------------


def reals(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


IDS = np.array([[1, 0, 3, 2], [3, 3, 1, 0]])
LAYERS = {  # a layer, and what it reads
    "Linear": (lambda: nn.Linear(4, 3), reals(2, 5, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(4), reals(2, 5, 4)),
    "RMSNorm": (lambda: nn.RMSNorm(4), reals(2, 5, 4)),
    "Embedding": (lambda: nn.Embedding(5, 4), IDS),
    "Dropout": (lambda: nn.Dropout(0.5), reals(40, 4)),
    "GELU": (lambda: nn.GELU(), reals(3, 4)),
    "SwiGLU": (lambda: nn.SwiGLU(4, 6), reals(2, 5, 4)),
    "Conv1d": (lambda: nn.Conv1d(4, 3, 3, padding=1), reals(2, 4, 6)),
    "RNN": (lambda: nn.RNN(4, 3), reals(5, 2, 4)),
    "LSTM": (lambda: nn.LSTM(4, 3), reals(5, 2, 4)),
    "GRU": (lambda: nn.GRU(4, 3), reals(5, 2, 4)),
    "LearnedPositions": (lambda: nn.LearnedPositions(6, 4), reals(2, 5, 4)),
    "SinusoidalPositions": (lambda: nn.SinusoidalPositions(4), reals(2, 5, 4)),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8), reals(2, 5, 4)),
    "GPT": (lambda: GPT(GPTConfig(5, 8, n_layer=2, n_head=2, n_embd=8, dropout=0.1)), IDS),
}


def life_of_a_layer(make, host, device):
    """The outputs of a layer, the gradients of all its parameters, and of a penalty on these."""
    ta.manual_seed(0)
    layer = make().to("float64").to(device)
    x = ta.tensor(host, device=device)
    outputs = [y for y in tensors_in(layer(x)) if y.requires_grad]
    parameters = [p for p in layer.parameters() if p.requires_grad]
    if not parameters:
        return tensors_in(layer(x))
    loss = weighted_sum(outputs)
    first = ta.grad(loss, parameters, create_graph=True, allow_unused=True)
    first = [g for g in first if g is not None]
    moving = [g for g in first if g.requires_grad]
    second = ta.grad(weighted_sum(moving), parameters, allow_unused=True) if moving else []
    return [*outputs, *first, *(g for g in second if g is not None)]


@DEVICES
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_the_cpus_to_second_order(name, device):
    make, host = LAYERS[name]
    there, here = (life_of_a_layer(make, host, place) for place in (device, "cpu"))
    for y, expected in zip(there, here, strict=True):
        assert y.device == f"{device}:0" and y.dtype == expected.dtype
        check_values(y, expected.numpy(), 1e-8)


# ---- training ------------------------------------------------------------------------------------


def trainer(device):
    """A function that takes a step of a small GPT in float32, and returns the loss."""
    ta.manual_seed(0)
    model = GPT(GPTConfig(11, 16, n_layer=2, n_head=2, n_embd=16, dropout=0.1)).to(device)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    ids = ta.randint(0, 11, (4, 17), generator=ta.Generator(1), device=device)

    def step():
        optimizer.zero_grad()
        loss = ta.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


@DEVICES
def test_the_same_seed_gives_the_same_run_bit_for_bit(device):
    runs = []
    for _ in range(2):
        step = trainer(device)
        runs.append([step().item() for _ in range(4)])
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0]


@DEVICES
def test_training_leaks_nothing(device):
    held, counts = memory_in_use(device), []
    step = trainer(device)
    for _ in range(4):
        step()
        counts.append(held())
    assert counts[1] == counts[2] == counts[3]


def memory_in_use(device):
    """A function that tells how many bytes are in use on the device."""
    if device == "standin":
        return fake_cupy._held
    return get_backend(device).xp.get_default_memory_pool().used_bytes


# ---- products and memory -------------------------------------------------------------------------


@DEVICES
def test_tf32_is_as_exact_as_its_10_bits_and_float32_as_its_23(device):
    a, b = (np.random.default_rng(i).standard_normal((64, 256)).astype("float32") for i in (0, 1))
    exact = a.astype(float) @ b.T.astype(float)
    size = np.abs(exact).max()
    for precision, bits in (("highest", 20), ("high", 9)):
        before = ta.set_matmul_precision(precision)
        try:
            y = ta.tensor(a, device=device) @ ta.tensor(b, device=device).T
        finally:
            ta.set_matmul_precision(before)
        np.testing.assert_allclose(y.numpy(), exact, atol=size * 2.0**-bits)


@DEVICES
def test_views_multiply_as_on_the_cpu(device):
    q = np.random.default_rng(0).standard_normal((2, 5, 3, 4))
    heads = ta.tensor(q, device=device).swapaxes(1, 2)
    found = heads @ heads.swapaxes(-1, -2)
    expected = q.swapaxes(1, 2) @ q.swapaxes(1, 2).swapaxes(-1, -2)
    np.testing.assert_allclose(found.numpy(), expected, 1e-12, 1e-12)


@DEVICES
def test_memory_that_no_gpu_has_is_refused_in_our_words(device, monkeypatch):
    monkeypatch.setattr(fake_cupy, "MEMORY", fake_cupy._held() + 1000)
    size = 1000 if device == "standin" else 2**43
    with pytest.raises(ta.OutOfMemoryError, match=f'"{device}:0": out of memory: asked for'):
        ta.ones(size, device=device)
