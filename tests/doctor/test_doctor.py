"""The doctor: what it says of machines with and without a GPU, and with what exit code."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn.__main__ import main
from tinygrad_attn.doctor import Finding, gpu, host
from tinygrad_attn.doctor.command import report

CUPY = {"cupy-cuda13x": "14.2.0"}


@pytest.fixture
def machine(monkeypatch):
    """``machine(driver, distributions)`` is the machine that the doctor finds."""

    def be(driver, installed):
        monkeypatch.setattr(gpu, "driver_version", lambda: driver)
        monkeypatch.setattr(gpu, "distributions", lambda: installed)
        monkeypatch.setattr(gpu, "sys", SimpleNamespace(platform="linux"))

    return be


@pytest.fixture
def card(machine, monkeypatch):
    """A machine on which all is well: CuPy is the stand-in, with what the doctor asks of it."""
    machine((13, 0), CUPY)
    names = [b"NVIDIA H200", b"NVIDIA T4"]
    runtime = SimpleNamespace(
        **vars(fake_cupy.cuda.runtime),
        getDeviceProperties=lambda i: {"name": names[i], "major": 9, "minor": i},
        memGetInfo=lambda: (2**37, 2**38),
    )
    cuda = SimpleNamespace(**{**vars(fake_cupy.cuda), "runtime": runtime})
    modules = {
        "cupy": SimpleNamespace(cuda=cuda),
        "cublas": SimpleNamespace(),
        "nvrtc": SimpleNamespace(getVersion=lambda: (13, 0)),
        "nccl": SimpleNamespace(get_version=lambda: 22707),
    }
    works = gpu.works
    monkeypatch.setattr(gpu, "import_module", lambda name: modules[name.rpartition(".")[2]])
    monkeypatch.setattr(gpu, "works", lambda: works("standin"))
    return modules


# ---- the whole command ---------------------------------------------------------------------------


def test_a_machine_without_a_gpu_is_well(machine, capsys):
    machine(None, {})
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    for word in ("Python", "NumPy", "BLAS", "CPU      works", "no NVIDIA driver", "MPI"):
        assert word in page
    assert page.endswith("The CPU works; no GPU does.\n")
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("said", [None, "Haswell"])
def test_kernels_that_a_variable_has_picked_are_pointed_out(said, machine, monkeypatch, capsys):
    machine(None, {})
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if said:
        monkeypatch.setenv("OPENBLAS_CORETYPE", said)
    monkeypatch.setattr(host, "blas_kernels", lambda: "Haswell")
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert "Haswell kernels" in page
    assert ("OPENBLAS_CORETYPE is Haswell" in page) == bool(said)


def test_a_machine_with_a_gpu_is_shown_with_it(card, capsys):
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    for text in (
        " ok  Driver   runs programs for CUDA up to 13.0",
        " ok  CuPy     cupy-cuda13x 14.2.0",
        " ok  NVRTC    13.0",
        " ok  NCCL     22707",
        " ok  cuda:0   NVIDIA H200, compute capability 9.0, 128.0 of 256.0 GiB free",
        " ok  cuda:1   NVIDIA T4, compute capability 9.1, 128.0 of 256.0 GiB free",
        " ok  GPU      works",
        "The CPU works; a GPU works too.",
    ):
        assert text in page.splitlines()


def test_gpu_says_in_one_line_which_works(card, capsys):
    assert main(["doctor", "--gpu"]) == 0
    assert capsys.readouterr().out == (
        "cuda:0 works: NVIDIA H200, compute capability 9.0, 128.0 of 256.0 GiB free\n"
    )


@pytest.mark.parametrize(
    ("driver", "installed", "says"),
    [
        (None, CUPY, "Driver: no NVIDIA driver found; a GPU needs the NVIDIA driver"),
        ((11, 8), CUPY, "Driver: runs programs for CUDA up to 11.8; update the NVIDIA driver"),
        ((12, 4), {}, "CuPy: is not installed; pip install 'tinygrad-attn[cuda12]'"),
        ((13, 1), {}, "CuPy: is not installed; pip install 'tinygrad-attn[cuda13]'"),
        ((12, 4), CUPY, "CuPy: cupy-cuda13x 14.2.0, for a newer CUDA than the driver's 12.4; pip"),
        (
            (13, 0),
            {"cupy-cuda12x": "14.2.0", **CUPY},
            "CuPy: twice: cupy-cuda12x 14.2.0, cupy-cuda13x 14.2.0; they overwrite each other: pip "
            "uninstall cupy-cuda12x cupy-cuda13x; then pip install 'tinygrad-attn[cuda13]'",
        ),
    ],
)
def test_gpu_says_in_one_line_what_is_missing(machine, capsys, driver, installed, says):
    machine(driver, installed)
    assert main(["doctor", "--gpu"]) == 1
    out, error = capsys.readouterr()
    assert not out and len(error.splitlines()) == 1
    assert error.startswith("no GPU works here: ") and says in error


@pytest.mark.parametrize(
    ("module", "failure", "says"),
    [
        ("cublas", ImportError("no libcublas\nin /usr"), "cuBLAS: no libcublas; pip install 'cupy"),
        ("nvrtc", OSError("no libnvrtc"), "NVRTC: no libnvrtc; pip install 'cupy"),
        ("cupy", RuntimeError(""), "CuPy: cannot be imported: RuntimeError; pip install 'tinygrad"),
    ],
)
def test_a_library_that_is_missing_is_named(card, monkeypatch, capsys, module, failure, says):
    def broken(name):
        if name.rpartition(".")[2] == module:
            raise failure
        return card[name.rpartition(".")[2]]

    monkeypatch.setattr(gpu, "import_module", broken)
    assert main(["doctor", "--gpu"]) == 1
    assert says in capsys.readouterr().err


def test_a_gpu_alone_needs_no_nccl(card, capsys):
    del card["nccl"]
    assert main(["doctor", "--gpu"]) == 0
    capsys.readouterr()
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert "  -  NCCL" in page and "nvidia-nccl" not in page


def test_a_gpu_that_fails_is_no_gpu(card, capsys):
    card["cupy"].cuda.runtime.getDeviceCount = lambda: 0
    assert main(["doctor", "--gpu"]) == 1
    assert "GPU: the driver finds none" in capsys.readouterr().err


def test_it_advises_nothing_that_nothing_here_uses(machine, monkeypatch, capsys):
    """MPI and NCCL are for runs that this version does not know."""

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(host, "metadata", SimpleNamespace(**{**vars(metadata), "version": missing}))
    assert host.mpi() == Finding("MPI", "mpi4py is not installed, and nothing here uses it", None)
    monkeypatch.undo()
    machine(None, {})
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(host, "mpi", lambda: Finding("MPI", "is not installed", None))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("  * ") == 1  # of the driver


def test_a_broken_mpi_breaks_nothing(monkeypatch):
    monkeypatch.setattr(host.metadata, "version", lambda name: "4.0.1")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    finding = host.mpi()
    assert finding.is_well is None and not finding.advice
    assert finding.text.startswith("mpi4py 4.0.1: ")


def test_it_runs_on_this_machine():
    command = [sys.executable, "-W", "error", "-m", "tinygrad_attn", "doctor"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr
    assert "The CPU works" in run.stdout


def test_a_product_is_what_tells_whether_a_gpu_works(monkeypatch):
    assert gpu.works("standin").is_well
    assert gpu.works("tpu").text.startswith('fails: to("tpu"): unknown device')
    monkeypatch.setattr(gpu, "tensor", lambda x, device: ta.tensor(x)[:1].T)
    assert gpu.works("standin").is_well is False


# ---- its parts -----------------------------------------------------------------------------------


def test_distributions_of_cupy_are_found_by_their_name(monkeypatch):
    found = [
        SimpleNamespace(metadata={"Name": name}, version="1")
        for name in ("numpy", "cupy", "cupy-cuda12x", "cupy-xarray", None)
    ]
    monkeypatch.setattr(gpu.metadata, "distributions", lambda: found)
    assert gpu.distributions() == {"cupy": "1", "cupy-cuda12x": "1"}


def test_there_is_no_cuda_on_a_mac(monkeypatch):
    monkeypatch.setattr(gpu, "sys", SimpleNamespace(platform="darwin"))
    (finding,) = gpu.examine()
    assert finding.is_well is None and "macOS" in finding.text


def test_a_cpu_that_miscalculates_is_found(monkeypatch, capsys):
    monkeypatch.setattr(host, "grad", lambda y, x: x)
    assert host.cpu().is_well is False
    assert main(["doctor"]) == 1
    assert "The CPU does not work" in capsys.readouterr().out


def test_long_lines_are_wrapped_under_their_beginning():
    page = report([Finding("GPU", "word " * 30, False, "do " * 40)]).splitlines()
    assert max(map(len, page)) <= 80
    assert page[1].startswith(" " * 14 + "word") and page[-1].startswith("    do")
