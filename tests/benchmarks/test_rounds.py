"""Turns, ratios, and the environment in which everyone runs."""

import os

import pytest

from benchmarks import rounds


def test_a_ratio_is_taken_within_each_round():
    ours, theirs = [1.0, 30.0, 3.0], [2.0, 40.0, 4.0]  # the machine slept in the second round
    assert rounds.ratio(ours, theirs) == 0.75


def test_contestants_take_turns():
    order = []

    def measure(name):
        order.append(name)
        return {"ms": len(order)}

    assert rounds.collect(["a", "b"], 2, measure) == {"a": {"ms": [1, 3]}, "b": {"ms": [2, 4]}}
    assert order == ["a", "b", "a", "b"]


def test_everyone_is_told_the_number_of_threads(tmp_path):
    alone, two = rounds.environment(1), rounds.environment(2, tmp_path)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
        assert (alone[name], two[name]) == ("1", "2")
    assert "TORCHINDUCTOR_CACHE_DIR" not in alone.keys() - os.environ.keys()
    assert two["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)


def test_a_process_answers_in_json_or_fails_with_its_last_words():
    with pytest.raises(rounds.Failed, match=r"no_such_module failed:\n.*No module named"):
        rounds.run("no_such_module", threads=1)


def test_a_process_that_was_started_answers_whenever_it_is_asked(path):
    arguments = ("benchmarks.contestants.process", "time", "ours", path, 1, 0.0)
    with rounds.started(*arguments, threads=1) as ask:
        first, second = ask(), ask()
    assert first.keys() == second.keys() >= {"ms", "peak"}
    with (
        rounds.started("no_such_module", threads=1) as ask,
        pytest.raises(rounds.Failed, match=r"no_such_module failed:\n.*No module named"),
    ):
        ask()


def test_only_what_is_installed_is_compared(monkeypatch):
    monkeypatch.setattr(rounds, "find_spec", lambda name: name == "tinygrad_attn" or None)
    assert rounds.installed() == ["ours"]
