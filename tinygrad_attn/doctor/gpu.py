"""What the doctor looks at for a GPU: the driver, CuPy and its libraries, the devices.

From bottom to top, and each only where what is under it is there: one cause gives one complaint.
"""

import ctypes
import sys
from importlib import import_module, metadata

from ..ops import tensor
from .findings import Finding, one_line

__all__ = ["examine"]

OLDEST = 12  # the CUDA version of the oldest driver for which CuPy 14 has a wheel


def examine():
    """The findings, from the driver up to a product on the device, as far as they go."""
    if sys.platform == "darwin":
        text = "none that CUDA could use: there is no CUDA for macOS"
        return [Finding("GPU", text, None, "on macOS everything runs on the CPU")]
    cuda = driver_version()
    findings = [driver(cuda), cupy(cuda, distributions())]
    if not all(finding.is_well for finding in findings):
        return findings
    try:
        library = import_module("cupy")
    except Exception as error:  # a damaged installation fails in ways of its own
        text = f"cannot be imported: {one_line(error)}"
        return [*findings, Finding("CuPy", text, False, _install(cuda))]
    return [*findings, *libraries(library), *devices(library), works()]


def driver_version():
    """(major, minor) of the newest CUDA that the installed driver runs; None without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    number = ctypes.c_int()
    try:
        if ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(number)) or not number.value:
            return None
    except (AttributeError, OSError):
        return None
    return number.value // 1000, number.value % 1000 // 10


def driver(cuda):
    """The NVIDIA driver."""
    if cuda is None:
        advice = "a GPU needs the NVIDIA driver; without a GPU there is nothing to install"
        return Finding("Driver", "no NVIDIA driver found", None, advice)
    is_new = cuda[0] >= OLDEST
    advice = "" if is_new else f"update the NVIDIA driver to one for CUDA {OLDEST} or newer"
    return Finding("Driver", f"runs programs for CUDA up to {cuda[0]}.{cuda[1]}", is_new, advice)


def distributions():
    """{name: version} of the installed distributions that bring a module ``cupy``."""
    found = {str(d.metadata["Name"]): d.version for d in metadata.distributions()}
    ours = [n for n in sorted(found) if n == "cupy" or n.startswith(("cupy-cuda", "cupy-rocm"))]
    return {name: found[name] for name in ours}


def cupy(cuda, installed):
    """CuPy, of which there must be one, and not for a newer CUDA than the driver's."""
    named = ", ".join(f"{name} {version}" for name, version in installed.items())
    if not installed:
        return Finding("CuPy", "is not installed", None if cuda is None else False, _install(cuda))
    if len(installed) > 1:
        steps = [f"pip uninstall {' '.join(installed)}", _install(cuda)]
        advice = "they overwrite each other: " + "; then ".join(filter(None, steps))
        return Finding("CuPy", f"twice: {named}", False, advice)
    (name,) = installed
    wants = "".join(filter(str.isdigit, name.partition("cuda")[2]))[:2]
    if cuda is not None and wants and int(wants) > cuda[0]:
        text = f"{named}, for a newer CUDA than the driver's {cuda[0]}.{cuda[1]}"
        return Finding("CuPy", text, False, f"pip uninstall {name}; then {_install(cuda)}")
    return Finding("CuPy", named)


def _install(cuda):
    """What to type for this machine."""
    if cuda is None or cuda[0] < OLDEST:
        return ""
    return f"pip install 'tinygrad-attn[cuda{13 if cuda[0] > OLDEST else 12}]'"


def libraries(cupy):
    """cuBLAS and NVRTC, without which nothing runs, and NCCL, which nothing here uses yet."""
    found = []
    for subject, module, needed in (
        ("cuBLAS", "cupy_backends.cuda.libs.cublas", True),
        ("NVRTC", "cupy_backends.cuda.libs.nvrtc", True),
        ("NCCL", "cupy_backends.cuda.libs.nccl", False),
    ):
        try:
            text = _version(subject, import_module(module))
        except Exception as error:  # ImportError, or whatever a library that is found fails with
            advice = "pip install 'cupy-cuda13x[ctk]', or cupy-cuda12x, brings it" if needed else ""
            found.append(Finding(subject, one_line(error), False if needed else None, advice))
        else:
            found.append(Finding(subject, text))
    return found


def _version(subject, module):
    if subject == "NVRTC":
        return "{}.{}".format(*module.getVersion())
    return str(module.get_version()) if subject == "NCCL" else "found"


def devices(cupy):
    """Each GPU: its name, what it can do, and how much of its memory is free."""
    runtime, found = cupy.cuda.runtime, []
    try:
        for number in range(runtime.getDeviceCount()):
            properties = runtime.getDeviceProperties(number)
            with cupy.cuda.Device(number):
                free, total = (f"{size / 2**30:,.1f}" for size in runtime.memGetInfo())
            name, able = properties["name"].decode(), f"{properties['major']}.{properties['minor']}"
            text = f"{name}, compute capability {able}, {free} of {total} GiB free"
            found.append(Finding(f"cuda:{number}", text))
    except runtime.CUDARuntimeError as error:
        found.append(Finding("GPU", one_line(error), False, "see what nvidia-smi says"))
    return found or [Finding("GPU", "the driver finds none", False, "see what nvidia-smi says")]


def works(device="cuda"):
    """Whether a product comes out right on the GPU."""
    try:
        x = tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
        found = (x @ x).tolist()
    except Exception as error:  # whatever it is, it is what the doctor has been asked to find
        return Finding("GPU", f"fails: {one_line(error)}", False, "report it with this page")
    is_right = found == [[7.0, 10.0], [15.0, 22.0]]
    return Finding("GPU", "works" if is_right else f"multiplies wrongly: {found}", is_right)
