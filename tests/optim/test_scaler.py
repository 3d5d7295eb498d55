"""GradScaler: steps that are taken, steps that are skipped, and how the factor moves."""

from itertools import pairwise

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn import nn, optim
from tinygrad_attn.backend import dtypes
from tinygrad_attn.errors import (
    CheckpointError,
    DTypeError,
    GraphError,
    NonFiniteError,
    ShapeError,
)
from tinygrad_attn.models import GPT, GPTConfig

INF, NAN = float("inf"), float("nan")


def parameter(*values, device="cpu"):
    return nn.Parameter(ta.tensor(np.array(values, np.float32), device=device))


def one_step(scaler, optimizer, loss):
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


# ---- a step --------------------------------------------------------------------------------------


def test_a_good_step_is_the_step_without_a_scaler(device):
    p, q = parameter(1.0, 2.0, device=device), parameter(1.0, 2.0, device=device)
    scaler, optimizer, other = optim.GradScaler(), optim.AdamW([p]), optim.AdamW([q])
    for _ in range(3):
        one_step(scaler, optimizer, (p * p).sum())
        other.zero_grad()
        (q * q).sum().backward()
        other.step()
    np.testing.assert_array_equal(p.numpy(), q.numpy())  # a power of 2 rounds nothing
    assert scaler.get_scale() == 2.0**16


@pytest.mark.parametrize("bad", [INF, -INF, NAN])
def test_one_bad_gradient_anywhere_skips_the_step_and_halves_the_factor(bad, device):
    p, q = parameter(1.0, 2.0, device=device), parameter([3.0], device=device)
    unused = parameter(5.0, device=device)
    scaler, optimizer = optim.GradScaler(), optim.AdamW([p])
    optimizer.add_param_group({"params": [unused, q]})
    one_step(scaler, optimizer, (p * p).sum() + q.sum())
    before = [x.numpy().copy() for x in (p, q, unused)]
    moments = optimizer.state_dict()["state"]
    one_step(scaler, optimizer, (p * p).sum() + (q * bad).sum())
    for x, old in zip((p, q, unused), before):
        np.testing.assert_array_equal(x.numpy(), old)
    for i, state in optimizer.state_dict()["state"].items():
        assert state["step"] == moments[i]["step"] == 1
        np.testing.assert_array_equal(state["exp_avg"].numpy(), moments[i]["exp_avg"].numpy())
    assert scaler.get_scale() == 2.0**15


def test_the_factor_grows_after_so_many_good_steps_in_a_row():
    p = parameter(1.0)
    scaler = optim.GradScaler(8.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=3)
    optimizer, scales = optim.SGD([p], lr=0.0), []
    for slope in (1, 1, INF, 1, 1, 1, 1, NAN, 1):
        one_step(scaler, optimizer, (p * slope).sum())
        scales.append(scaler.get_scale())
    assert scales == [8, 8, 2, 2, 2, 8, 8, 2, 2]


def test_true_gradients_are_clipped():
    p = parameter(3.0, 4.0)
    scaler, optimizer = optim.GradScaler(), optim.SGD([p], lr=1.0)
    scaler.scale((p * p).sum() / 2).backward()
    scaler.unscale_(optimizer)
    assert optim.clip_grad_norm_([p], 1.0).item() == pytest.approx(5.0)
    scaler.step(optimizer)
    scaler.update()
    np.testing.assert_allclose(p.numpy(), [2.4, 3.2], rtol=1e-5)


def test_clipping_what_is_infinite_does_not_hide_it():
    p = parameter(3.0, 4.0)
    scaler, optimizer = optim.GradScaler(), optim.SGD([p], lr=1.0)
    scaler.scale((p * ta.tensor([INF, 1.0])).sum()).backward()
    scaler.unscale_(optimizer)
    optim.clip_grad_norm_([p], 1.0)
    optim.clip_grad_value_([p], 1.0)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [3.0, 4.0] and scaler.get_scale() == 2.0**15


def test_gradients_accumulate_under_one_factor():
    p = parameter(1.0, 2.0)
    scaler, optimizer = optim.GradScaler(), optim.SGD([p], lr=1.0)
    for weight in (0.25, 0.5):
        scaler.scale((p * weight).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.25, 1.25]


def test_of_two_optimizers_one_may_step_and_the_other_not():
    p, q = parameter(1.0), parameter(1.0)
    scaler = optim.GradScaler(4.0, growth_interval=1)
    first, second = optim.SGD([p], lr=1.0), optim.SGD([q], lr=1.0)
    loss, other = scaler.scale((p.sum(), {"other": (q * NAN).sum()}))
    loss.backward()
    other["other"].backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert p.tolist() == [0.0] and q.tolist() == [1.0] and scaler.get_scale() == 2.0


def test_gradients_of_several_dtypes_and_shapes_and_one_that_is_empty():
    shapes = {(2, 3): "float32", (): "float64", (4,): "float64", (0, 2): "float32"}
    ps = [nn.Parameter(ta.ones(shape, dtype=dtype)) for shape, dtype in shapes.items()]
    scaler, optimizer = optim.GradScaler(), optim.SGD(ps, lr=1.0)
    scaler.scale(sum((p * p).sum() for p in ps)).backward()
    scaler.unscale_(optimizer)
    for p in ps:
        assert p.grad.shape == p.shape and p.grad.dtype == p.dtype
        np.testing.assert_array_equal(p.grad.numpy(), 2.0)
    kept = ps[0].grad
    scaler.step(optimizer)
    scaler.update()
    scaler.scale(ps[0].sum()).backward()  # what a gradient was does not change with the next
    np.testing.assert_array_equal(kept.numpy(), 2.0)


def test_a_loss_of_16_bits_is_widened_before_it_is_scaled():
    x = ta.tensor([2.0], dtype=ta.float16, requires_grad=True)
    loss = optim.GradScaler().scale(x.sum())
    assert loss.dtype == ta.float32 and loss.item() == 2.0**17  # beyond float16


def test_a_step_waits_once_for_the_device():
    p = parameter([1.0, 2.0], device="standin")
    scaler, optimizer = optim.GradScaler(), optim.AdamW([p])
    for _ in range(2):
        optimizer.zero_grad()
        before = fake_cupy.synchronizations
        scaler.scale((p * p).sum()).backward()
        scaler.unscale_(optimizer)
        optim.clip_grad_norm_([p], 1.0)
        assert fake_cupy.synchronizations == before
        scaler.step(optimizer)
        scaler.update()
        assert fake_cupy.synchronizations == before + 1


def test_disabled_it_only_calls_the_step():
    p = parameter(1.0)
    scaler, optimizer = optim.GradScaler(enabled=False), optim.SGD([p], lr=1.0)
    loss = p.sum()
    assert scaler.scale(loss) is loss and not scaler.is_enabled()
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.0]
    assert scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    scaler.load_state_dict({})


# ---- misuse --------------------------------------------------------------------------------------


def test_calls_in_the_wrong_order():
    p = parameter(1.0)
    scaler, optimizer = optim.GradScaler(), optim.SGD([p])
    with pytest.raises(GraphError, match=r"^GradScaler\.update: there was no step"):
        scaler.update()
    with pytest.raises(GraphError, match=r"unscale_: no parameter of this SGD has a gradient"):
        scaler.step(optimizer)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(GraphError, match=r"unscale_\(\) was already called for this SGD"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GraphError, match=r"^GradScaler\.step: called twice for this SGD"):
        scaler.step(optimizer)
    with pytest.raises(GraphError, match=r"step\(\) was called for this SGD"):
        scaler.unscale_(optimizer)
    scaler.update()
    scaler.unscale_(optimizer)


def test_parameters_of_16_bits_are_refused():
    p = nn.Parameter(ta.ones(2, dtype=ta.float16))
    scaler = optim.GradScaler()
    scaler.scale(p.sum()).backward()
    with pytest.raises(DTypeError, match=r"\(2,\) is float16.* keep parameters in float32"):
        scaler.step(optim.SGD([p]))


def test_gradients_that_no_factor_helps_are_told_from_an_overflow():
    p = parameter(1.0)
    scaler, optimizer = optim.GradScaler(2.0**-125), optim.SGD([p])
    one_step(scaler, optimizer, (p * NAN).sum())
    with pytest.raises(NonFiniteError, match=r"this is no overflow: ta\.detect_anomaly\(\)"):
        one_step(scaler, optimizer, (p * NAN).sum())


def test_the_factor_stays_where_float32_can_hold_it():
    p = parameter(0.0)
    scaler = optim.GradScaler(2.0**126, growth_interval=1)
    one_step(scaler, optim.SGD([p]), (p * 0).sum())
    assert scaler.get_scale() == 2.0**126


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_scale": 0.0}, "init_scale is 0.0"),
        ({"growth_factor": 1.0}, "growth_factor is 1.0; it must be greater than 1"),
        ({"backoff_factor": 1.0}, r"backoff_factor is 1.0; it must be in 0\.\.1"),
        ({"growth_interval": 2.5}, "growth_interval is 2.5; it must be a whole number"),
        ({"growth_interval": 0}, "growth_interval is 0"),
    ],
)
def test_factors_that_would_not_work(options, message):
    with pytest.raises(ShapeError, match=f"^GradScaler: {message}"):
        optim.GradScaler(**options)


# ---- saving --------------------------------------------------------------------------------------


def test_a_run_goes_on_from_a_snapshot():
    p = parameter(1.0)
    scaler, optimizer = optim.GradScaler(64.0, growth_interval=3), optim.SGD([p])
    one_step(scaler, optimizer, p.sum())
    state = scaler.state_dict()
    assert state == {  # the names are PyTorch's
        "scale": 64.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 3,
        "_growth_tracker": 1,
    }
    other = optim.GradScaler()
    other.load_state_dict(state)
    for each in (scaler, other):
        one_step(each, optimizer, p.sum())
        assert each.get_scale() == 64.0
        one_step(each, optimizer, p.sum())
        assert each.get_scale() == 128.0 and each.state_dict()["_growth_tracker"] == 0


@pytest.mark.parametrize("state", [{}, {"scale": 2.0}, None, 3])
def test_a_snapshot_of_something_else(state):
    with pytest.raises(CheckpointError, match=r"^GradScaler\.load_state_dict: it holds .* must"):
        optim.GradScaler().load_state_dict(state)


# ---- training ------------------------------------------------------------------------------------


def learn(half, steps=40, device="cpu", init_scale=2.0**16, seed=0):
    """The losses of a small GPT on one batch, and the scaler in the end."""
    ta.manual_seed(seed)
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=16)
    model = GPT(config).to(device)
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    scaler = optim.GradScaler(init_scale, enabled=half == "float16")
    ids = ta.randint(0, 11, (4, 9)).to(device)
    losses = []
    for _ in range(steps):
        with ta.autocast(half or "float16", enabled=half is not None):
            loss = ta.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        optim.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert all(p.dtype == p.grad.dtype == ta.float32 for p in model.parameters())
    return losses, scaler


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_a_gpt_learns_in_16_bits_as_in_32(half):
    """At first nearly the same; later, as rounding errors grow from step to step, on the whole."""
    if half == "bfloat16" and dtypes.bfloat16 is None:
        pytest.skip("no ml_dtypes, or a NumPy before 2.2")
    apart = []
    for seed in range(3):
        exact, _ = learn(None, seed=seed)
        losses, scaler = learn(half, seed=seed)
        assert exact[0] > 2.3 and exact[-1] < 0.3
        assert losses != exact
        assert scaler.get_scale() == (2.0**16 if half == "float16" else 1.0)  # none was skipped
        apart.append(np.abs(np.subtract(losses, exact)))
    assert np.max(np.array(apart)[:, :3]) < 0.005  # nats, of the 2.2 learned
    assert np.mean(apart) < 0.02


def test_a_factor_that_is_far_too_large_finds_its_way_down():
    losses, scaler = learn("float16", steps=30, init_scale=2.0**40)
    skipped = sum(a == b for a, b in pairwise(losses))
    assert 10 < skipped < 29 and scaler.get_scale() == 2.0 ** (40 - skipped)
    assert losses[-1] < losses[0]


def test_on_the_standin_as_on_the_cpu():
    here, there = (learn("float16", 3, device)[0] for device in ("cpu", "standin"))
    assert here == pytest.approx(there, rel=1e-3)
