"""What setup.cfg promises to whoever installs the package."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_attn as ta

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = CONFIG["options.extras_require"]


def names(requirements):
    """The names in a list of requirements, without versions, extras and markers."""
    return re.findall(r"^\s*([\w-]+)", requirements, re.MULTILINE)


def test_version():
    assert ta.__version__ == CONFIG["metadata"]["version"]


def test_three_hard_dependencies():
    assert names(CONFIG["options"]["install_requires"]) == ["numpy", "safetensors", "tqdm"]


@pytest.mark.parametrize(
    ("extra", "package"),
    [
        ("cuda12", "cupy-cuda12x"),
        ("cuda13", "cupy-cuda13x"),
        ("bf16", "ml_dtypes"),
        ("plot", "matplotlib"),
        ("mpi", "mpi4py"),
        ("hf", "tokenizers"),
        ("examples", "tinygrad-attn"),
        ("docs", "tinygrad-attn"),
        ("test", "pytest"),
        ("bench", "torch"),
    ],
)
def test_extras(extra, package):
    assert package in names(EXTRAS[extra])


def test_extras_that_errors_name_exist():
    source = "".join(
        path.read_text(encoding="utf-8") for path in Path(ta.__file__).parent.rglob("*.py")
    )
    named = set(re.findall(r"tinygrad-attn\[(\w+)\]", source))
    assert named
    assert named <= set(EXTRAS)


def test_importing_needs_only_the_hard_dependencies():
    optional = {
        "cupy",
        "einops",
        "matplotlib",
        "mpi4py",
        "tokenizers",
        "torch",
        "hypothesis",
        "pytest",
    }
    program = f"import sys, tinygrad_attn; print(*sorted({optional!r} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (run.stderr, run.stdout.split()) == ("", [])
