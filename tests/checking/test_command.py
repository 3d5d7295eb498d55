"""``python -m tinygrad_attn gradcheck path.py:fn``."""

import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_attn.__main__ import main

SOURCE = """
import tinygrad_attn as ta

def good(x, y):
    return ta.exp(x) * y

bad = ta.primitive(lambda x: x * x).derivatives(x=lambda g, x: g * x)
number = 3
narrow = [ta.tensor([1.0])]
def inputs():
    return [ta.tensor([0.5]).astype("float64")]
def careless(x):
    raise KeyError("lost")
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE, encoding="utf-8")
    return file


def gradcheck(*words):
    return main(["gradcheck", *map(str, words)])


def test_a_right_function_ends_with_0(path, capsys):
    assert gradcheck(f"{path}:good") == 0
    said = capsys.readouterr().out
    assert said.startswith("gradcheck of good: passed")
    assert "6 × 12" in said  # two arguments of (2, 3)


def test_a_wrong_one_ends_with_1_and_the_report(path, capsys):
    assert gradcheck(f"{path}:bad", "--order", 1) == 1
    assert "off by a factor of 2" in capsys.readouterr().out


def test_shapes_inputs_and_options(path, capsys):
    assert (
        gradcheck(f"{path}:good", "--shape", "4", "--shape", "0d", "--between", 2, 3, "--seed", 5)
        == 0
    )
    assert "4 × 5" in capsys.readouterr().out
    assert gradcheck(f"{path}:bad", "--inputs", "inputs", "--sweep", "--method", "central") == 1
    said = capsys.readouterr().out
    assert "1 × 1" in said and "one-sided" in said and "central differences" in said


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("{}", (), "is not of the form path.py:function"),
        ("elsewhere.py:f", (), "there is no file elsewhere.py"),
        ("{}:nothing", (), "defines no 'nothing'; it has ta, good, bad"),
        ("{}:number", (), "number in {} is a int, which cannot be called"),
        ("{}:good", ("--shape", "2,x"), "--shape '2,x' is no shape"),
        ("{}:good", ("--shape", "2", "--shape", "3"), "shapes do not broadcast"),
        ("{}:bad", ("--inputs", "narrow"), "x is float32"),
        ("{}:good", ("--order", "0"), "order is 0"),
        ("{}:careless", (), "raised KeyError: 'lost'"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_one_line(path, capsys, target, more, message):
    assert gradcheck(target.format(path), *more) == 2
    shown = capsys.readouterr()
    assert message.format(path) in shown.err
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and not shown.out


def test_a_file_that_does_not_run(tmp_path, capsys):
    file = tmp_path / "broken.py"
    file.write_text("1 / 0", encoding="utf-8")
    assert gradcheck(f"{file}:f") == 2
    assert "cannot be imported: ZeroDivisionError" in capsys.readouterr().err


def test_from_the_command_line(path):
    def run(*words):
        command = [sys.executable, "-m", "tinygrad_attn", *words]
        return subprocess.run(
            command, capture_output=True, cwd=Path(__file__).parents[2], encoding="utf-8"
        )

    assert run("gradcheck", f"{path}:good").returncode == 0
    assert run("gradcheck", f"{path}:bad").returncode == 1
    unknown = run("gradchek")
    assert unknown.returncode == 2 and "invalid choice" in unknown.stderr
