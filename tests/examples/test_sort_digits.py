"""sort_digits: a quick run does all that a long one does; a long one sorts."""

import re

import pytest


def test_a_quick_run_trains_tests_and_draws(example, tmp_path):
    picture = tmp_path / "attention.png"
    code, out, err = example("sort_digits", "--quick", "--plot", picture)
    assert code == 0
    assert re.search(r"\d of 2,000 sequences that it never trained on .*%", out)
    assert len(re.findall(r"(\d ){9}\d  →  (\d ){9}\d  (right|wrong)", out)) == 5
    assert str(picture) in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert re.search(r"step 50/50  loss \d\.\d+  [\d,]+ tokens/s", err)


def test_the_seed_decides_the_run(example):
    def loss(seed):
        err = example("sort_digits", "--quick", "--seed", seed).err
        return re.search(r"step 50/50  loss (\d\.\d+)", err)[1]

    assert loss(1) == loss(1) != loss(2)


def test_workers_share_the_batch(example):
    alone, shared = (example("sort_digits", "--quick", "--workers", n) for n in (1, 2))
    losses = [
        float(re.search(r"step 50/50  loss (\d\.\d+)", run.err)[1]) for run in (alone, shared)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


def test_without_training_it_knows_nothing(example):
    code, out, _ = example("sort_digits", "--steps", 0)
    assert code == 0
    assert float(re.search(r"([\d.]+)%", out)[1]) < 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_learns_to_sort(example, seed):
    _, out, _ = example("sort_digits", "--seed", seed)
    assert float(re.search(r"([\d.]+)%", out)[1]) >= 99.5
