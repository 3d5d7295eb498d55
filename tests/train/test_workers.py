"""train(workers=N): what one process would compute, to the same bits at every run."""

import multiprocessing
import os
import pickle
import random
import time
from functools import partial

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin
from tinygrad_attn.backend.cpu.blas import blas_threads
from tinygrad_attn.core.graph import owner
from tinygrad_attn.errors import DataError, DeviceError, NonFiniteError, ShapeError, WorkerError
from tinygrad_attn.optim import SGD, AdamW
from tinygrad_attn.train import loop, train

METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
FORK = METHODS[0]


class Net(ta.nn.Module):
    """Two layers with dropout between, and a parameter that nothing uses."""

    def __init__(self, dropout=0.0, generator=None):
        self.up = ta.nn.Linear(6, 32)
        self.drop = ta.nn.Dropout(dropout, generator=generator)
        self.down = ta.nn.Linear(32, 2)
        self.idle = ta.nn.Parameter([1.0, 2.0])

    def forward(self, x):
        return self.down(self.drop(ta.tanh(self.up(x))))


def make(**options):
    ta.manual_seed(0)
    return Net(**options)


def batch(rows, step):
    x = np.random.default_rng(step).standard_normal((rows, 6), np.float32)
    return x, x[:, :2] ** 2


def loss(model, x, y):
    return ta.mse_loss(model(ta.tensor(x)), ta.tensor(y))


def delayed_loss(model, x, y):
    time.sleep(random.random() * 5e-3)
    return loss(model, x, y)


def weights(model):
    return np.concatenate([p.data.ravel() for p in model.parameters()])


def run(workers, rows=8, steps=6, loss=loss, model=None, start_method=FORK, **options):
    """(losses, weights, gradients) after some steps from the same beginning."""
    model = model or make()
    optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    losses = train(
        model,
        optimizer,
        loss,
        steps,
        batch=partial(batch, rows),
        workers=workers,
        start_method=start_method,
        **options,
    )
    assert not multiprocessing.active_children()
    gradients = [p.grad.data.ravel() for p in model.parameters() if p.grad is not None]
    return losses, weights(model), np.concatenate(gradients)


def assert_close(found, expected):
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def bits(result):
    return [np.asarray(part).tobytes() for part in result]


# ---- the same as one process ---------------------------------------------------------------------


@pytest.mark.parametrize("rows", [8, 7, 3, 2, 1])
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_compute_what_one_process_does(workers, rows):
    """Also where they cannot share evenly, or some of them have no row at all."""
    assert_close(run(workers, rows, clip=0.5), run(1, rows, clip=0.5))


@pytest.mark.parametrize("method", METHODS)
def test_however_they_are_started(method):
    assert bits(run(2, start_method=method)) == bits(run(2))


def test_one_worker_is_the_plain_loop_to_the_last_bit():
    def plain(step):
        return loss(model, *batch(8, step))

    model = make()
    losses = train(model, AdamW(model.parameters(), lr=1e-2, weight_decay=0.1), plain, 6)
    found = run(1)
    assert found[0] == losses
    assert found[1].tobytes() == weights(model).tobytes()


def test_a_parameter_without_gradient_has_none_and_does_not_decay():
    model = make()
    run(2, model=model)
    assert model.idle.grad is None
    assert model.idle.tolist() == [1.0, 2.0]


def seldom(model, x, y):
    """Uses ``idle`` for the first row of a batch only, which only rank 0 has."""
    extra = model.idle.sum() if x[0, 0] == y[0, 0] == 0 else 0
    return loss(model, x, y) + extra


def marked(step):
    x, y = batch(4, step)
    x[0, 0] = y[0, 0] = 0
    return x, y


def test_a_gradient_on_one_rank_is_a_gradient():
    model = make()
    train(model, SGD(model.parameters(), lr=1.0), seldom, 1, batch=marked, workers=2)
    assert model.idle.grad.tolist() == [0.5, 0.5]
    assert model.idle.tolist() == [0.5, 1.5]


def ragged(step):
    """Targets of which each row ignores more than the one before; some steps ignore all."""
    rng = np.random.default_rng(step)
    ids = rng.integers(0, 5, (4, 6))
    kept = np.arange(6) < np.arange(4)[:, None] + (0 if step else -9)
    return ids, np.where(kept, ids, -100)


def counted(model, ids, target):
    logits = model(ta.tensor(ids))
    return ta.cross_entropy(logits, ta.tensor(target)), (target != -100).sum()


def uncounted(model, ids, target):
    return counted(model, ids, target)[0]


def test_a_loss_may_say_what_it_weighs():
    def learn(loss, workers):
        ta.manual_seed(0)
        model = ta.nn.Sequential(ta.nn.Embedding(5, 8), ta.nn.Linear(8, 5))
        losses = train(
            model, SGD(model.parameters(), lr=1.0), loss, 4, batch=ragged, workers=workers
        )
        return losses, weights(model)

    right = learn(uncounted, 1)
    assert bits(learn(counted, 1)) == bits(right)
    assert_close(learn(counted, 3), right)
    assert right[0][0] == 0  # where nothing counts, the loss is 0
    assert not np.allclose(learn(uncounted, 3)[1], right[1], rtol=1e-3)


def nothing_by_nothing(model, ids, target):
    """The mean over the rows with a target of 1, which is 0/0 where there is none."""
    wanted = (target == 1).astype("float32")
    losses = ta.cross_entropy(model(ta.tensor(ids)), ta.tensor(target), reduction="none")
    return (losses * ta.tensor(wanted)).sum() / ta.tensor(wanted.sum()), wanted.sum()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no core can be asked for here")
def test_afterwards_every_rank_may_run_where_it_might_before():
    before = os.sched_getaffinity(0)

    def where(model, ids, target):
        assert os.sched_getaffinity(0) == before
        return uncounted(model, ids, target)

    model = ta.nn.Sequential(ta.nn.Embedding(5, 8), ta.nn.Linear(8, 5))
    train(model, SGD(model.parameters(), lr=1.0), where, 1, batch=ragged, workers=2)
    assert os.sched_getaffinity(0) == before


def test_rows_that_weigh_nothing_may_have_no_mean():
    def learn(workers):
        ta.manual_seed(0)
        model = ta.nn.Sequential(ta.nn.Embedding(5, 8), ta.nn.Linear(8, 5))
        given = np.arange(4), np.array([1, 1, 0, 2])
        losses = train(
            model,
            SGD(model.parameters(), lr=1.0),
            nothing_by_nothing,
            3,
            batch=lambda step: given,
            workers=workers,
        )
        return losses, weights(model)

    assert_close(learn(2), learn(1))


@pytest.mark.parametrize("weight", [None, "many", np.ones(2), -1, np.nan, np.inf])
def test_a_loss_that_weighs_no_number(weight):
    model = make()
    told = "as what its rows weigh; it must be a finite number, not below 0"
    with pytest.raises(DataError, match=told):
        train(
            model,
            SGD(model.parameters(), lr=0.1),
            lambda *given: (loss(*given), weight),
            1,
            batch=partial(batch, 7),
            workers=2,
        )


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes(dtype):
    def learn(workers):
        model = make()
        model.down.to(dtype)  # the rest stays float32
        options = {"batch": partial(batch, 8), "workers": workers}
        losses = train(model, SGD(model.parameters(), lr=0.1), mixed, 4, **options)
        return losses, model.down.weight.data, model.up.weight.data, model.down.weight.grad.data

    def mixed(model, x, y):
        hidden = ta.tanh(model.up(ta.tensor(x))).astype(dtype)
        return ta.mse_loss(model.down(hidden).astype("float32"), ta.tensor(y))

    alone, shared = learn(1), learn(2)
    for a, b in zip(alone, shared):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=5e-3 if dtype == "float16" else 1e-5, atol=1e-4)


def test_what_report_changes_in_rank_0_reaches_all():
    def learn(workers):
        model = make()

        def report(steps, losses):
            model.up.weight.data *= 2
            return "doubled"

        return run(workers, model=model, every=2, report=report)

    assert_close(learn(2), learn(1))


def test_tensors_can_be_a_batch_and_one_array_alone():
    def learn(workers):
        model = make()
        options = {"batch": lambda step: ta.tensor(batch(5, step)[0]), "workers": workers}
        return train(
            model, SGD(model.parameters(), lr=0.1), lambda m, x: (m(x) ** 2).mean(), 3, **options
        )

    np.testing.assert_allclose(learn(2), learn(1), rtol=1e-5)


# ---- the same bits at every run ------------------------------------------------------------------


def test_the_bits_do_not_depend_on_who_is_late():
    def learn():
        return bits(run(3, 7, loss=delayed_loss, model=make(dropout=0.5)))

    assert learn() == learn() == learn()


def test_the_seed_decides_the_dropout():
    def learn(seed):
        model = make(dropout=0.5)
        ta.manual_seed(seed)
        return bits(run(2, model=model))

    assert learn(1) == learn(1) != learn(2)


def test_masks_go_on_from_run_to_run():
    model = make(dropout=0.5)
    optimizer = SGD(model.parameters(), lr=0.0)

    def learn():
        return train(model, optimizer, loss, 3, batch=lambda step: batch(4, 0), workers=2)

    assert not set(learn()) & set(learn())


class Masked(ta.nn.Module):
    """Scales its columns and drops half of the elements."""

    def __init__(self, generator=None):
        self.scale = ta.nn.Parameter(np.ones(64, np.float32))
        self.drop = ta.nn.Dropout(0.5, generator=generator)

    def forward(self, x):
        return self.drop(x * self.scale)


def two_rows_alike(step):
    return np.ones((2, 64), np.float32)


def mean_of_rows(model, x):
    return model(ta.tensor(x)).mean(axis=0).sum()


@pytest.mark.parametrize(("method", "seed"), [(FORK, None), (FORK, 5), (METHODS[-1], 5)])
def test_each_rank_drops_other_elements(method, seed):
    ta.manual_seed(0)
    model = Masked(None if seed is None else ta.Generator(seed))
    optimizer = SGD(model.parameters())
    options = {"batch": two_rows_alike, "workers": 2, "start_method": method}
    train(model, optimizer, mean_of_rows, 1, **options)
    kept = model.scale.grad.data  # 0, 1 or 2: in how many of the two rows
    assert 10 < (kept == 1).sum() < 54


# ---- what is left afterwards ---------------------------------------------------------------------


def test_the_model_is_as_private_as_before():
    model = make()
    arrays = [p.data for p in model.parameters()]
    run(2, model=model)
    for p, array in zip(model.parameters(), arrays):
        assert p.data is array
        assert p.grad is None or owner(p.grad.data).flags.owndata
    twin = pickle.loads(pickle.dumps(model))
    assert twin.state_dict().keys() == model.state_dict().keys()
    assert not model.training


def test_training_goes_on_with_the_same_optimizer():
    def learn(*workers):
        model = make()
        optimizer = AdamW(model.parameters(), lr=1e-2)
        options = {"batch": partial(batch, 8), "schedule": lambda step: 1e-2 / (step + 1)}
        for count in workers:
            train(model, optimizer, loss, 3, workers=count, **options)
        assert {state["step"] for state in optimizer.state_dict()["state"].values()} == {6}
        return [weights(model)]

    assert_close(learn(2, 1), learn(1, 1))
    assert_close(learn(1, 3), learn(1, 1))


def test_gradients_of_earlier_steps_stay_as_they_were():
    model, seen = make(), []

    def report(steps, losses):
        seen.append((model.up.weight.grad, model.up.weight.grad.data.copy()))
        return ""

    run(2, model=model, every=1, report=report)
    for gradient, copy in seen:
        assert np.array_equal(gradient.data, copy)


def test_blas_has_its_threads_back():
    seen = []

    def report(steps, losses):
        seen.append(blas_threads())
        return ""

    before = blas_threads()
    run(2, report=report)
    assert seen == [1 if before else None]
    assert blas_threads() == before


def test_no_steps_change_nothing():
    model = make()
    before = weights(model)
    options = {"batch": partial(batch, 4), "workers": 2}
    assert train(model, SGD(model.parameters(), lr=1.0), loss, 0, **options) == []
    assert weights(model).tobytes() == before.tobytes()


@pytest.mark.parametrize(("cores", "said"), [(1, 1), (2, 0), (3, 0)])
def test_more_workers_than_cores_are_told_so_once(cores, said, monkeypatch, capfd):
    monkeypatch.setattr(loop, "_cores", lambda: cores)
    losses, *_ = run(2)
    assert len(losses) == 6
    notice = "train: workers is 2, cores are 1: more workers than cores only wait for one another"
    assert capfd.readouterr().err.splitlines().count(notice) == said


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux")
def test_cores_are_those_that_this_process_may_use():
    may = os.sched_getaffinity(0)
    assert loop._cores() == len(may)
    os.sched_setaffinity(0, {min(may)})
    try:
        assert loop._cores() == 1
    finally:
        os.sched_setaffinity(0, may)


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"workers": 0}, DataError, "workers is 0; it must be a whole number of at least 1"),
        ({"workers": 1.5}, DataError, "workers is 1.5; it must be a whole number"),
        ({"batch": None}, DataError, "2 workers, but a loss of the step alone, whose batch nobody"),
        ({"batch": lambda step: ()}, DataError, r"batch\(0\) has the shapes ; it must be"),
        ({"batch": lambda step: 3}, DataError, r"batch\(0\) has the shapes \(\); it must be"),
        ({"batch": lambda step: np.ones((0, 6))}, DataError, r"shapes \(0, 6\); it must be"),
        (
            {"batch": lambda step: (np.ones((4, 6)), np.ones((3, 2)))},
            DataError,
            r"has the shapes \(4, 6\), \(3, 2\); it must be an array or a tuple of them",
        ),
        ({"start_method": "thread"}, DataError, "start_method is 'thread'; this system has"),
        (
            {"start_method": "spawn", "batch": lambda step: batch(4, step)},
            DataError,
            "workers are spawned here, but batch cannot be pickled: .*; move it to the top level",
        ),
    ],
)
def test_what_cannot_be_shared(options, error, message):
    model = make()
    options = {"batch": partial(batch, 4), "workers": 2, "start_method": FORK, **options}
    with pytest.raises(error, match=message):
        train(model, SGD(model.parameters(), lr=0.1), loss, 2, **options)
    assert not multiprocessing.active_children()


def test_a_parameter_that_is_not_the_models():
    model, other = make(), ta.nn.Parameter([1.0, 2.0, 3.0])
    optimizer = SGD([*model.parameters(), other], lr=0.1)
    with pytest.raises(DataError, match=r"shape \(3,\) that is none of the model's"):
        train(model, optimizer, loss, 2, batch=partial(batch, 4), workers=2)


def test_a_model_on_another_device():
    model = make().to(standin.backend.name)
    with pytest.raises(DeviceError, match="workers share the cores of a CPU"):
        train(model, SGD(model.parameters(), lr=0.1), loss, 2, batch=partial(batch, 4), workers=2)


def in_worker():
    return multiprocessing.parent_process() is not None


def nan_in_worker(model, x, y):
    return loss(model, x, y) * (float("nan") if in_worker() else 1.0)


def steep(model, x, y):
    """A gradient of +∞ on one rank and −∞ on the other, whose sum is no number."""
    return ta.sqrt(model.idle).sum() * (-1 if in_worker() else 1)


def test_infinite_gradients_bring_no_warnings():
    model = make()
    model.idle.data[:] = 0
    with pytest.raises(NonFiniteError, match="at step 1"):
        run(2, loss=steep, model=model)


def test_a_loss_that_is_no_number_on_any_rank():
    with pytest.raises(NonFiniteError, match="loss is nan at step 0"):
        run(2, loss=nan_in_worker)
    assert not multiprocessing.active_children()


def stale_in_worker(kept, model, x, y):
    """At the second step goes back over a graph of the first one's weights."""
    kept.append((model.up.weight * model.up.weight).sum())
    return kept[0] if in_worker() and len(kept) == 2 else loss(model, x, y)


def test_a_graph_of_weights_that_have_gone_is_refused():
    with pytest.raises(WorkerError, match="GraphError: backward: multiply needs an array of shape"):
        run(2, loss=partial(stale_in_worker, []))


def wrong_in_rank_0(model, x, y):
    return model(ta.tensor(x if in_worker() else x[:, :3]))


def test_an_error_in_rank_0_is_raised_as_it_is():
    with pytest.raises(ShapeError, match="linear"):
        run(3, loss=wrong_in_rank_0)
    assert not multiprocessing.active_children()
    run(2)
