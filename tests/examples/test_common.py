"""What all examples do alike: flags, errors of one line with exit code 2, an end on Ctrl-C."""

import os
import re
import signal
import subprocess
import sys

import pytest

from .conftest import EXAMPLES

NAMES = ["sort_digits", "char_gpt"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "flags, message",
    [
        (["--device", "tpu"], 'unknown device "tpu"'),
        (["--device", "cpu:1"], 'device "cpu:1"'),
        (["--steps", "-1"], "argument --steps: '-1' is not a whole number of at least 0"),
        (["--steps", "many"], "argument --steps: 'many' is not a whole number"),
        (["--batch-size", "0"], "argument --batch-size: '0' is not a whole number of at least 1"),
        (["--seed", "-3"], "argument --seed: '-3' is not a whole number of at least 0"),
        (["--lr", "0"], "argument --lr: '0' is not a positive number"),
        (["--lr", "nan"], "argument --lr: 'nan' is not a positive number"),
        (["--lr", "fast"], "argument --lr: 'fast' is not a positive number"),
        (["--plot", "missing/picture.png"], 'cannot write "missing/picture.png"'),
        (["--plot", "picture.gif"], '"picture.gif" must end in one of .png, .pdf, .svg'),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--steps"], "argument --steps: expected one argument"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(example, name, flags, message):
    code, out, err = example(name, *flags)
    assert code == 2
    assert not out
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_flag(example, name):
    code, out, _ = example(name, "--help")
    assert code == 0
    for flag in "--device --seed --steps --batch-size --lr --plot --quick".split():
        assert flag in out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console")
@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_ends_with_a_message(name):
    process = subprocess.Popen(
        [sys.executable, "-u", EXAMPLES / f"{name}.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    process.stdout.readline()  # it has begun
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped by Ctrl-C." in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_at_which_nothing_can_be_learned_ends_with_the_reason(example, name):
    code, _, err = example(name, "--quick", "--lr", 1e9)
    assert code == 2
    assert re.search("the loss is (nan|inf) at step", err)
    assert "lower the rate" in err
