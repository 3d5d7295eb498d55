"""The script and the figures for a real GPU, as far as they can be tried without one."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_attention, gpu_ours
from tests.standin import fake_cupy
from tinygrad_attn.doctor.gpu import examine
from tinygrad_attn.errors import DeviceError

SCRIPT = Path(__file__).with_name("gpu.sh")


@pytest.mark.skipif(sys.platform == "win32", reason="the script is for bash")
def test_the_script_without_a_gpu_is_one_line_and_exit_code_1(tmp_path):
    if all(finding.is_well for finding in examine() if finding.subject != "NCCL"):
        pytest.skip("there is a GPU here")
    run = subprocess.run(
        ["bash", SCRIPT, tmp_path / "report"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and not run.stdout
    assert run.stderr.startswith("no GPU works here: ") and len(run.stderr.splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_the_script_takes_at_most_eight_minutes():
    words = SCRIPT.read_text(encoding="utf-8").split()
    limits = [int(words[i + 1]) for i, word in enumerate(words) if word == "timeout"]
    assert len(limits) == 4 and sum(limits) < 8 * 60
    assert sum(gpu_attention.SECONDS.values()) < limits[-2]
    assert sum(gpu.SECONDS.values()) < limits[-1]


@pytest.fixture
def on_standin(monkeypatch):
    monkeypatch.setattr(gpu_ours, "DEVICE", "standin")


@pytest.mark.parametrize("name", gpu.PASSES)
def test_each_op_can_be_measured(name, on_standin):
    before = fake_cupy.launches.total()
    work = gpu_ours.op(name, 4, 8)
    prepared = fake_cupy.launches.total()
    work()
    assert fake_cupy.launches.total() > prepared > before


def test_a_step_can_be_measured(on_standin):
    from tinygrad_attn.backend.precision import matmul_precision

    work = gpu_ours.step(11, 6, 1, 2, 8, 2, tf32=True)
    assert matmul_precision() == "high"
    for is_mixed in (False, True):
        work = gpu_ours.step(11, 6, 1, 2, 8, 2, is_mixed=is_mixed)
        assert matmul_precision() == "highest"
        work()


def test_both_train_the_same_model(on_standin):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks import gpu_torch
    from tinygrad_attn.models import GPT, GPTConfig

    ours = GPT(GPTConfig(11, 6, n_layer=2, n_head=2, n_embd=8))
    theirs = gpu_torch.GPT(11, 6, 2, 2, 8)
    sizes = sorted(tuple(p.shape) for p in theirs.parameters())
    assert sorted(tuple(p.shape) for p in ours.parameters()) == sizes
    assert theirs(torch.zeros(2, 6, dtype=torch.long)).shape == (2, 6, 11)


class Contestant:
    """Takes no time at all, and cannot do all."""

    def synchronize():
        pass

    def copy(rows, width):
        return lambda: None

    def op(name, rows, width):
        if name == "gelu":
            raise DeviceError("no such op\nin two lines")
        return lambda: None

    def step(*sizes, tf32, is_mixed):
        return lambda: None


def test_a_figure_that_fails_says_why_and_costs_no_other(tmp_path):
    gpu.measure(Contestant, tmp_path / "ours.json")
    figures = json.loads((tmp_path / "ours.json").read_text())
    assert figures.pop("gelu") == "DeviceError: no such op"
    assert len(figures) == len(gpu.PASSES) + len(gpu.STEPS)  # the copy has come, gelu is gone
    assert all(isinstance(figure, float) and math.isfinite(figure) for figure in figures.values())


def test_the_report_says_what_was_seen_and_where(tmp_path, monkeypatch):
    (tmp_path / "card.txt").write_text("NVIDIA H200, compute capability 9.0\n")
    (tmp_path / "tests.txt").write_text("1200 passed in 99 s\n")
    attention = {"ours": {"float16, heads of 64": {"1024": {"forward": 1, "backward": 2, "MB": 3}}}}
    (tmp_path / "attention.json").write_text(json.dumps(attention))
    found = {"ours": {"copy": 2.0, "softmax": 2.5, "dropout": 3.0, "gelu": "DeviceError: why"}}
    found["torch"] = {"copy": 2.0, "softmax": 5.0}
    monkeypatch.setattr(gpu, "run", lambda name, folder: found[name])
    gpu.report(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["milliseconds"] == found
    page = (tmp_path / "report.md").read_text()
    assert "on NVIDIA H200, compute capability 9.0; python " in page
    assert "Tests: 1200 passed in 99 s. compute-sanitizer: not run." in page
    assert "| softmax | 2.5 | 5 | 0.50 | 80% |" in page
    assert "| gelu | DeviceError: why |  |  |  |" in page
    assert "Below 80% of a copy's speed: dropout." in page
    assert "| float16, heads of 64 | 1024 | 1 | 2 | 3 |" in page


def test_attention_that_fails_or_is_stopped_keeps_the_other_figures(monkeypatch, capsys):
    def measure(contestant, kind, length, width):
        if length > gpu_attention.LENGTHS[0]:
            raise DeviceError("too long\nin two lines")
        return {"forward": 1.5, "backward": 2.0, "MB": 3.0}

    gpu_attention.write_figures("ours", measure)
    printed = capsys.readouterr().out.encode()

    def stopped(command, stdout, timeout):
        raise subprocess.TimeoutExpired(command, timeout, printed[:-1])  # in the last line

    monkeypatch.setattr(gpu_attention.subprocess, "run", stopped)
    found = gpu_attention.run("ours")
    kinds = [f"{kind}, heads of {width}" for kind, width in gpu_attention.KINDS]
    assert list(found) == kinds and list(found[kinds[-1]]) == ["1024", "2048", "4096", "8192"]
    assert found[kinds[0]]["2048"] == "DeviceError: too long"
    page = gpu_attention.page({"ours": found, "torch": {}})
    assert f"| {kinds[0]} | 1024 | 1.5 |  | 2 |  | 3 |  |" in page
    assert f"| {kinds[0]} | 2048 | failed |  |" in page


def test_a_contestant_that_takes_too_long_keeps_what_it_has(tmp_path, monkeypatch, capsys):
    (tmp_path / "ours.json").write_text('{"copy": 1.5}')

    def too_long(command, timeout, check):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", too_long)
    assert gpu.run("ours", tmp_path) == {"copy": 1.5}
    assert f"ours was stopped after {gpu.SECONDS['ours']} s" in capsys.readouterr().out
