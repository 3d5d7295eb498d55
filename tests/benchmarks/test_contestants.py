"""Every contestant that is installed learns the same thing from the same start."""

import shutil

import numpy as np
import pytest

from benchmarks import contestants
from benchmarks.check import check
from benchmarks.contestants import CONTESTANTS, process
from benchmarks.contestants.problem import Problem
from tests.benchmarks.conftest import TINY, each


def test_a_problem_is_read_as_it_was_written(problem, path):
    again = Problem.load(path)
    assert again.sizes == TINY
    assert again.weights.keys() == problem.weights.keys()
    for name, weight in problem.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)
    np.testing.assert_array_equal(again.ids, problem.ids)
    np.testing.assert_array_equal(again.target[:, :-1], problem.ids[:, 1:])


def answer(name, path, tmp_path):
    """What a contestant writes for the check."""
    process.check(name, path, 1, tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz") as file:
        return dict(file)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own
@pytest.mark.parametrize("name", each({**dict.fromkeys(contestants.installed(2)), "bare": None}))
def test_gradients_and_steps_agree_with_ours(name, path, tmp_path):
    ours = answer("ours", path, tmp_path)
    check(name, answer(name, path, tmp_path), ours)
    assert ours.keys() == {*Problem.load(path).weights, "loss", "losses"}
    assert len(set(ours["losses"])) == 3  # the steps go somewhere


def test_by_hand_repeats_every_step_of_ours(problem):
    ours, by_hand = (CONTESTANTS[name].build(problem, 1) for name in ("ours", "by hand"))
    for _ in range(2):
        ours.step(), by_hand.step()
    for name, parameter in ours.model.named_parameters():
        if not name.endswith("key.bias"):  # its gradient is 0, and AdamW makes the noise large
            np.testing.assert_allclose(
                by_hand.weights[name], parameter.numpy(), rtol=0, atol=1e-5, err_msg=name
            )


def test_what_is_not_installed_takes_no_part(monkeypatch):
    monkeypatch.setattr(contestants, "find_spec", lambda name: name == "tinygrad_attn" or None)
    assert contestants.installed(2) == ["ours", "ours, shared", "by hand"]


def test_the_batch_is_shared_by_two_threads_where_the_loop_can(monkeypatch):
    monkeypatch.setattr(contestants.train, "train", lambda *, workers: None)
    assert "ours, shared" in contestants.installed(2)
    assert "ours, shared" not in contestants.installed(1)
    monkeypatch.setattr(contestants.train, "train", lambda: None)
    assert "ours, shared" not in contestants.installed(2)


def test_without_a_compiler_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(contestants, "find_spec", lambda name: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "torch compiled" not in contestants.installed(1)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "torch compiled" in contestants.installed(1)


def test_a_turn_gives_every_figure(path):
    figures = next(process.turns("ours", path, 1, 0.0))
    assert figures.keys() == {"ms", "fastest", "cores", "peak", "grown"}
    assert 0 < figures["fastest"] <= figures["ms"]
    assert 0 <= figures["grown"] < figures["peak"]


def test_bare_numpy_takes_part_on_one_thread():
    assert "bare" in contestants.installed(1)
    assert "bare" not in contestants.installed(2)
