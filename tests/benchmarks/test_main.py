"""The command from end to end: what it prints, and what it leaves in the page."""

import pytest

from benchmarks import __main__ as command
from benchmarks import step
from benchmarks.check import Refused
from tests.benchmarks.conftest import TINY


def test_a_step_is_measured_printed_and_saved(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(step.CONFIGS, "S", TINY)
    monkeypatch.setattr(step, "installed", lambda threads: ["ours", "by hand"])
    flags = ["--only", "step", "--configs", "S", "--rounds", "1", "--seconds", "0"]
    tmp_path /= "made"
    command.main([*flags, "--save", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.startswith("## A training step\n")
    assert "### S: V 11, T 6, B 3, D 8, L 2, H 2" in printed
    assert "The engine adds " in printed
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "<!-- python -m benchmarks --only step --threads 1 -->" in page
    assert "| kernels by hand |" in page
    assert "![A training step](benchmarks-step-1.svg)" in page
    assert (tmp_path / "benchmarks-step-1.svg").read_text("utf-8").count("kernels by hand") == 1


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_measured(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(step, "measure", lambda options: pytest.fail("it has begun"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"cannot write into .*file"):
        command.main(["--only", "step", "--save", str(tmp_path / "file")])


def test_a_refusal_ends_the_command(monkeypatch, capsys):
    def measure(options):
        raise Refused("jax: refused: the gradient of norm.bias differs by 1")

    monkeypatch.setattr(step, "measure", measure)
    with pytest.raises(SystemExit, match=r"jax: refused: the gradient of norm\.bias"):
        command.main(["--only", "step"])
    assert "ms" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--only", "nothing"], "'step'"),
        (["--configs", "S,Z"], "'Z' is none of S,A,C,D"),
        (["--threads", "0"], "'0' is no whole number of at least 1"),
        (["--rounds", "-1"], "'-1' is no whole number of at least 1"),
        (["--seconds", "-1"], "'-1' is no number of seconds"),
        (["--seconds", "soon"], "'soon' is no number of seconds"),
    ],
)
def test_a_wrong_flag_says_what_there_is(flags, words, capsys):
    with pytest.raises(SystemExit):
        command.main(flags)
    assert words in capsys.readouterr().err


def test_every_benchmark_has_the_same_form():
    for module in command.BENCHMARKS.values():
        assert isinstance(module.TITLE, str)
        assert callable(module.measure)
        assert callable(module.tables)
