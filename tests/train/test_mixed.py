"""train(scaler=...): mixed precision, where one infinite gradient skips the step of every rank."""

import math
from functools import partial

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.train.test_loop import Point, quadratic
from tests.train.test_workers import METHODS, batch, make, weights
from tinygrad_attn.errors import DataError, DTypeError, NonFiniteError
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.optim import SGD, AdamW, GradScaler
from tinygrad_attn.train import load_checkpoint, save_checkpoint, train


@ta.autocast()
def half_loss(model, x, y):
    return ta.mse_loss(model(ta.tensor(x)), ta.tensor(y))


def plain_loss(model, x, y):
    return ta.mse_loss(model(ta.tensor(x)), ta.tensor(y))


def steep(step, rows=4):
    """The last row of step 2, which only the last rank has, makes gradients that overflow."""
    x, y = batch(rows, step)
    if step == 2:
        y[-1] = 3e4
    return x, y


def run(scaler, workers=1, loss=half_loss, steps=5, batch=steep, **options):
    """(losses, weights, the factor at the end) after some steps from the same beginning."""
    model = make()
    optimizer = SGD(model.parameters(), lr=1e-2, momentum=0.9)
    losses = train(
        model, optimizer, loss, steps, batch=batch, workers=workers, scaler=scaler, **options
    )
    return losses, weights(model), scaler.get_scale()


def by_hand(scaler, steps=5, clip=None):
    """What the loop is to do, as the chapter on mixed precision writes it."""
    model = make()
    optimizer = SGD(model.parameters(), lr=1e-2, momentum=0.9)
    losses, skipped = [], []
    for step in range(steps):
        before = weights(model)
        loss = half_loss(model, *steep(step))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            ta.optim.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        if np.array_equal(before, weights(model)):
            skipped.append(step)
    return (losses, weights(model), scaler.get_scale()), skipped


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_step_that_overflows_is_skipped(clip):
    expected, skipped = by_hand(GradScaler(init_scale=2.0**10), clip=clip)
    assert skipped == [2] and expected[-1] == 2.0**9
    losses, found, scale = run(GradScaler(init_scale=2.0**10), clip=clip)
    assert (losses, scale) == (expected[0], expected[2])
    assert found.tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [2, 3])
def test_a_gradient_that_overflows_on_one_rank_skips_the_step_of_all(workers, method):
    found = [
        run(GradScaler(init_scale=2.0**10), workers, clip=0.5, start_method=method)
        for _ in range(2)
    ]
    assert found[0][0] == found[1][0]
    assert found[0][1].tobytes() == found[1][1].tobytes()
    losses, moved, scale = found[0]
    expected = run(GradScaler(init_scale=2.0**10), clip=0.5)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-3)
    np.testing.assert_allclose(moved, expected[1], rtol=1e-3, atol=1e-4)
    assert scale == expected[2] == 2.0**9


@pytest.mark.parametrize("workers", [2, 3])
def test_every_rank_scales_by_the_factor_of_rank_0(workers):
    """It halves three times, as one rank overflows and the others do not, and grows again."""

    def always_steep(step):
        return steep(2 if step < 3 else 3)

    one, many = (
        GradScaler(init_scale=2.0**12, growth_interval=2, growth_factor=3.1) for _ in range(2)
    )
    expected = run(one, batch=always_steep, steps=8)
    found = run(many, workers, batch=always_steep, steps=8)
    assert many.state_dict() == one.state_dict()
    assert one.get_scale() != 2.0**12
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_workers_compute_in_the_region_that_the_loop_was_called_in(method):
    loss = plain_loss
    with ta.autocast():
        inside = run(GradScaler(), 2, loss, batch=partial(batch, 4), start_method=method)
    expected = run(GradScaler(), 2, batch=partial(batch, 4))
    assert inside[0] == expected[0]
    assert inside[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_is_not_enabled_changes_nothing(workers):
    found = run(GradScaler(enabled=False), workers, batch=partial(batch, 4), clip=0.5)
    expected = run_without(workers)
    assert found[0] == expected[0]
    assert found[1].tobytes() == expected[1].tobytes()


def run_without(workers):
    model = make()
    optimizer = SGD(model.parameters(), lr=1e-2, momentum=0.9)
    data = partial(batch, 4)
    losses = train(model, optimizer, half_loss, 5, batch=data, workers=workers, clip=0.5)
    return losses, weights(model)


def test_a_loss_of_the_step_alone_is_scaled_too():
    model, scaler = Point(0.0), GradScaler(init_scale=2.0**127 / 2, growth_interval=1)
    train(model, SGD(model.parameters(), lr=0.25), quadratic(model), 1, scaler=scaler)
    assert model.at.item() == 0 and scaler.get_scale() == 2.0**125  # −6·2¹²⁶ is infinite
    train(model, SGD(model.parameters(), lr=0.25), quadratic(model), 1, scaler=scaler)
    assert model.at.item() == 1.5


def test_gradients_are_true_ones_after_a_step(device):
    model = Point(0.0).to(device)
    train(model, SGD(model.parameters(), lr=0.0), quadratic(model), 3, scaler=GradScaler())
    assert model.at.grad.item() == -6


def test_a_loss_that_is_no_number_is_survived_where_its_step_is_skipped():
    model, bad = Point(1.0), {1: math.inf, 2: math.nan}
    scaler = GradScaler(init_scale=8.0)
    losses = train(
        model,
        SGD(model.parameters(), lr=0.25),
        lambda step: (model.at * bad.get(step, 1.0)).sum(),
        4,
        scaler=scaler,
    )
    assert losses == pytest.approx([1.0, math.inf, math.nan, 0.75], nan_ok=True)
    assert (model.at.item(), scaler.get_scale()) == (0.5, 2.0)


def test_a_loss_that_is_no_number_ends_the_run_where_its_step_was_taken():
    model = Point(1.0)
    with pytest.raises(NonFiniteError, match="loss is inf at step 0"):
        train(
            model,
            SGD(model.parameters(), lr=0.25),
            lambda step: (model.at + math.inf).sum(),
            4,
            scaler=GradScaler(),
        )


def test_where_every_gradient_is_nan_it_ends():
    model = Point(1.0)
    with pytest.raises(NonFiniteError, match=r"GradScaler\.update: gradients are not finite"):
        train(
            model,
            SGD(model.parameters(), lr=0.25),
            lambda step: (model.at * math.nan).sum(),
            1000,
            scaler=GradScaler(),
        )


def test_what_is_no_scaler():
    model = Point(0.0)
    with pytest.raises(DTypeError, match=r"train: scaler is a float; .* optim.GradScaler\(\)"):
        train(model, SGD(model.parameters(), lr=0.1), quadratic(model), 1, scaler=2.0)


def test_a_parameter_whose_gradient_nobody_would_unscale():
    model = make()
    optimizer = SGD(model.up.parameters(), lr=0.1)
    with pytest.raises(DataError, match=r"shape \(2,\) that is none of the optimizer"):
        train(model, optimizer, half_loss, 1, batch=steep, clip=1.0, scaler=GradScaler())
    for p in (*model.down.parameters(), model.idle):
        p.requires_grad_(False)
    train(model, optimizer, half_loss, 1, batch=steep, clip=1.0, scaler=GradScaler())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_goes_on_from_a_checkpoint(workers, tmp_path):
    """Weights, and the scaler beside them: what is saved after 3 steps and 3 more are 6."""

    def gpt():
        ta.manual_seed(0)
        return GPT(GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=8))

    def ids(step):
        rows = np.random.default_rng(step).integers(0, 7, (4, 5))
        return rows[:, :-1], rows[:, 1:]

    def go(model, scaler, first, steps):
        options = {"batch": lambda step: ids(first + step), "workers": workers, "clip": 1.0}
        optimizer = SGD(model.parameters(), lr=0.1)
        return train(model, optimizer, surprise, steps, scaler=scaler, **options)

    whole, scaler = gpt(), GradScaler(init_scale=2.0**20, growth_interval=4)
    expected = go(whole, scaler, 0, 8)
    first, before = gpt(), GradScaler(init_scale=2.0**20, growth_interval=4)
    found = go(first, before, 0, 5)
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, first.state_dict(), {"scaler": before.state_dict()})
    second, after = gpt(), GradScaler()
    arrays, config = load_checkpoint(path)
    second.load_state_dict(arrays)
    after.load_state_dict(config["scaler"])
    found += go(second, after, 5, 3)
    assert found == expected
    assert after.state_dict() == scaler.state_dict()
    assert weights(second).tobytes() == weights(whole).tobytes()


@ta.autocast()
def surprise(model, ids, target):
    return ta.cross_entropy(model(ta.tensor(ids)), ta.tensor(target))


def test_adamw_takes_no_part_in_a_step_that_is_skipped():
    model, scaler = Point(0.0), GradScaler(init_scale=2.0**126)
    optimizer = AdamW(model.parameters(), lr=0.25)
    train(model, optimizer, quadratic(model), 1, scaler=scaler)
    assert not optimizer.state
