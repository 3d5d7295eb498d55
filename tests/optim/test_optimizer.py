"""What all optimizers share: groups, the rate, writing in place, saving, and what is refused."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn import nn, optim
from tinygrad_attn.errors import CheckpointError, DeviceError, DTypeError, GraphError, ShapeError

ALL = [
    lambda params, **options: optim.SGD(params, momentum=0.9, **options),
    optim.Adam,
    optim.AdamW,
]


def parameters(*shapes, dtype="float32"):
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def set_gradients(params, step):
    for i, p in enumerate(params):
        values = np.sin(step + i + np.arange(p.size)).reshape(p.shape).astype(p.dtype)
        p.grad = ta.tensor(values, device=p.device)


def steps(optimizer, params, numbers):
    for step in numbers:
        set_gradients(params, step)
        optimizer.step()


def values(params):
    return [p.numpy().copy() for p in params]


# ---- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_groups_have_options_of_their_own(make):
    params, alone = parameters((2, 3), (3,)), parameters((2, 3), (3,))
    together = make([{"params": params[0]}, {"params": [params[1]], "lr": 0.5}], lr=0.1)
    apart = [make([alone[0]], lr=0.1), make([alone[1]], lr=0.5)]
    assert [group["lr"] for group in together.param_groups] == [0.1, 0.5]
    for step in range(3):
        set_gradients(params, step)
        set_gradients(alone, step)
        together.step()
        for optimizer in apart:
            optimizer.step()
    for a, b in zip(values(params), values(alone)):
        np.testing.assert_array_equal(a, b)


def test_a_group_may_come_later():
    first, second = parameters((2,), (3,))
    optimizer = optim.AdamW([first], lr=0.1)
    optimizer.add_param_group({"params": second, "weight_decay": 0.0})
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]
    assert optimizer.param_groups[1]["lr"] == 0.1
    steps(optimizer, [first, second], range(2))
    assert sorted(optimizer.state) == [0, 1]


def test_decay_groups_part_matrices_from_biases_and_norms():
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 5))
    model[2].weight = model[0].weight
    decayed, rest = optim.decay_groups(model, 0.1)
    assert [p.shape for p in decayed["params"]] == [(5, 4)] and decayed["weight_decay"] == 0.1
    assert [p.shape for p in rest["params"]] == [(4,), (4,), (5,)] and rest["weight_decay"] == 0.0
    model[1].requires_grad_(False)
    assert [p.shape for p in optim.decay_groups(model, 0.1)[1]["params"]] == [(5,)]
    (only,) = optim.decay_groups(nn.Linear(2, 2, bias=False), 0.1)
    assert only["weight_decay"] == 0.1


# ---- the learning rate ---------------------------------------------------------------------------


def test_the_rate_is_an_attribute():
    params = parameters((2,))
    before = values(params)[0]
    optimizer = optim.SGD(params, lr=0.1)
    assert optimizer.lr == 0.1
    optimizer.lr = np.float64(0.5)
    assert optimizer.lr == 0.5 and type(optimizer.param_groups[0]["lr"]) is float
    set_gradients(params, 0)
    optimizer.step()
    np.testing.assert_allclose(values(params)[0], before - 0.5 * np.sin([0, 1]), rtol=1e-6)
    assert params[0].dtype == ta.float32


def test_one_rate_does_not_overwrite_several():
    first, second = parameters((2,), (2,))
    optimizer = optim.SGD([{"params": first, "lr": 0.5}, {"params": second}], lr=0.1)
    with pytest.raises(ShapeError, match=r"SGD: the groups have different learning rates, 0\.1, 0"):
        _ = optimizer.lr
    with pytest.raises(ShapeError, match="different learning rates"):
        optimizer.lr = 1.0
    for group in optimizer.param_groups:
        group["lr"] = 0.2
    assert optimizer.lr == 0.2


@pytest.mark.parametrize("rate", [-1.0, math.nan])
def test_a_rate_must_not_be_negative(rate):
    optimizer = optim.Adam(parameters((2,)))
    with pytest.raises(ShapeError, match=r"Adam: lr is .*; it must not be negative"):
        optimizer.lr = rate
    with pytest.raises(ShapeError, match=r"Adam: lr is .*; it must not be negative"):
        optim.Adam(parameters((2,)), lr=rate)
    with pytest.raises(DTypeError, match=r"lr is '0\.1'; it must be a number"):
        optimizer.lr = "0.1"


# ---- the step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_a_parameter_without_a_gradient_stays_as_it_is(make):
    first, second = parameters((2,), (2,))
    optimizer = make([first, second], lr=0.1)
    before = values([second])[0]
    set_gradients([first], 1)
    optimizer.step()
    np.testing.assert_array_equal(second.numpy(), before)
    assert list(optimizer.state) == [0]
    optimizer.zero_grad()
    assert first.grad is None
    before = values([first, second])
    optimizer.step()
    for p, value in zip((first, second), before):
        np.testing.assert_array_equal(p.numpy(), value)


@pytest.mark.parametrize("make", ALL)
def test_a_step_writes_in_place_and_tells_the_graph(make):
    (p,) = parameters((3,))
    array = p.data
    loss = (p * p).sum()
    set_gradients([p], 0)
    gradient = p.grad.numpy().copy()
    make([p], lr=0.1).step()
    assert p.data is array and p.is_leaf and p.requires_grad
    np.testing.assert_array_equal(p.grad.numpy(), gradient)
    with pytest.raises(GraphError, match="overwritten in place"):
        loss.backward()


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_stays_and_the_state_has_32_bits_at_least(make, dtype):
    params = parameters((2, 3), (), (0, 2), dtype=dtype)
    optimizer = make(params, lr=0.01)
    steps(optimizer, params, range(3))
    wide = "float32" if dtype == "float16" else dtype
    for p, state in zip(params, optimizer.state.values()):
        assert p.dtype == dtype
        arrays = [value for name, value in state.items() if name != "step"]
        assert arrays and {a.dtype for a in arrays} == {np.dtype(wide)}
        assert {a.shape for a in arrays} == {p.shape}


@pytest.mark.parametrize("make", ALL)
def test_after_the_first_step_no_array_as_large_as_a_parameter_is_made(make):
    import tracemalloc

    (p,) = parameters((2048, 1024))
    optimizer = make([p], lr=0.1, weight_decay=0.1)
    steps(optimizer, [p], range(2))
    tracemalloc.start()
    optimizer.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < p.nbytes / 10


@pytest.mark.parametrize("make", ALL)
def test_another_device_gives_the_same(make, device):
    here = parameters((3, 2), (4,))
    steps(make(here, lr=0.1, weight_decay=0.1), here, range(4))
    for there in {device, "standin"}:
        params = [nn.Parameter(p.to(there)) for p in parameters((3, 2), (4,))]
        optimizer = make(params, lr=0.1, weight_decay=0.1)
        steps(optimizer, params, range(4))
        for p, expected in zip(params, values(here)):
            assert p.device.startswith(there)
            np.testing.assert_allclose(p.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", ALL)
def test_every_optimizer_finds_the_bottom_of_a_bowl(make):
    x = nn.Parameter([3.0, -2.0])
    optimizer = make([x], lr=0.1)
    for step in range(300):
        loss = ((x - ta.tensor([1.0, 2.0])) ** 2 * ta.tensor([1.0, 0.3])).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = 0.1 * (1 - step / 300)
        optimizer.step()
    np.testing.assert_allclose(x.numpy(), [1, 2], atol=0.05)


# ---- saving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_going_on_from_a_snapshot_is_going_on(make):
    params, twins = parameters((2, 3), (3,)), parameters((2, 3), (3,))
    optimizer = make(params, lr=0.1)
    steps(optimizer, params, range(3))
    state = optimizer.state_dict()
    for p, twin in zip(params, twins):
        nn.init.zeros_(twin)
        twin.data[...] = p.data
    steps(optimizer, params, range(3, 6))
    resumed = make(twins, lr=0.7)
    resumed.load_state_dict(state)
    assert resumed.lr == 0.1
    steps(resumed, twins, range(3, 6))
    for a, b in zip(values(params), values(twins)):
        np.testing.assert_array_equal(a, b)


def test_a_snapshot_has_pytorchs_form_and_is_a_copy():
    params = parameters((2,), (3,))
    optimizer = optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
    steps(optimizer, params, range(2))
    snapshot = optimizer.state_dict()
    assert [group["params"] for group in snapshot["param_groups"]] == [[0], [1]]
    assert snapshot["param_groups"][1]["lr"] == 0.5
    assert set(snapshot["state"]) == {0, 1} and snapshot["state"][0]["step"] == 2
    before = snapshot["state"][1]["exp_avg"].numpy().copy()
    assert before.shape == (3,)
    steps(optimizer, params, range(2))
    np.testing.assert_array_equal(snapshot["state"][1]["exp_avg"].numpy(), before)


def test_a_snapshot_of_arrays_and_names_of_numbers_loads_too():
    params = parameters((2,))
    optimizer = optim.AdamW(params)
    steps(optimizer, params, range(2))
    state = optimizer.state_dict()
    arrays = {
        "0": {name: np.asarray(value) for name, value in state["state"][0].items()},
    }
    other = optim.AdamW(parameters((2,)))
    other.load_state_dict({**state, "state": arrays})
    assert other.state[0]["step"] == 2
    np.testing.assert_array_equal(other.state[0]["exp_avg"], optimizer.state[0]["exp_avg"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: [1], 'no state of an optimizer; it needs "state" and "param_groups"'),
        (lambda s: {"state": {}}, "no state of an optimizer"),
        (lambda s: {**s, "param_groups": s["param_groups"] * 2}, r"groups of \[2, 2\] parameters"),
        (lambda s: {**s, "state": {5: {}}}, "no parameter 5; there are 2"),
        (
            lambda s: {**s, "state": {0: {"momentum_buffer": np.ones(7)}}},
            r"momentum_buffer is \(7,\), its parameter is \(2,\)",
        ),
        (
            lambda s: optim.Adam(parameters((2,), (3,))).state_dict(),
            "its options are lr, betas, eps, weight_decay; those of this optimizer are lr, mom",
        ),
    ],
)
def test_a_snapshot_that_does_not_fit_changes_nothing(change, text):
    params = parameters((2,), (3,))
    optimizer = optim.SGD(params, momentum=0.9, lr=0.3)
    steps(optimizer, params, range(2))
    before = optimizer.state_dict()
    with pytest.raises(CheckpointError, match=f"SGD.load_state_dict: .*{text}"):
        optimizer.load_state_dict(change(optim.SGD(parameters((2,), (3,))).state_dict()))
    assert optimizer.lr == 0.3
    for i, state in optimizer.state.items():
        expected = before["state"][i]["momentum_buffer"].numpy()
        np.testing.assert_array_equal(state["momentum_buffer"], expected)


def test_a_model_that_moves_away_from_its_state_is_noticed():
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    steps(optimizer, list(model.parameters()), range(1))
    model.to("standin")
    set_gradients(list(model.parameters()), 1)
    with pytest.raises(DeviceError, match=r'\(2, 2\) is on "standin:0" but its state is not'):
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ([], ShapeError, "SGD: params is empty"),
        (nn.Linear(1, 1), DTypeError, r"params is a Linear; give model\.parameters\(\)"),
        (nn.Parameter([1.0]), DTypeError, r"params is a Parameter; give \[tensor\]"),
        ([np.ones(2)], DTypeError, "parameters must be tensors, not ndarray"),
        ([ta.ones(2, requires_grad=True) * 2], GraphError, "was computed by multiply"),
        ([{"lr": 1.0}], DTypeError, 'give a dict with "params" in it'),
        ([{"params": [nn.Parameter([1.0])], "learning_rate": 1}], DTypeError, "no option 'learn"),
        ([{"params": [nn.Parameter([1.0])], "lr": -1}], ShapeError, "lr is -1"),
    ],
)
def test_what_cannot_be_optimized_is_refused(params, error, text):
    with pytest.raises(error, match=text):
        optim.SGD(params)


def test_a_parameter_is_given_once():
    (p,) = parameters((2,))
    with pytest.raises(ShapeError, match=r"a parameter of shape \(2,\) is given twice"):
        optim.SGD([p, p])
    with pytest.raises(ShapeError, match="is given twice"):
        optim.SGD([{"params": p}, {"params": p}])


def test_a_refused_group_leaves_the_others():
    first, second = parameters((2,), (3,))
    optimizer = optim.SGD([first])
    with pytest.raises(ShapeError):
        optimizer.add_param_group({"params": [second, first]})
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]
