"""What the doctor looks at on the host: Python, NumPy and its BLAS, MPI; and that the CPU works."""

import os
import platform
from importlib import metadata

from ..backend import get_backend
from ..backend.cpu.blas import blas_kernels, blas_threads
from ..core import grad
from ..ops import tensor
from .findings import Finding, one_line

__all__ = ["blas", "cpu", "mpi", "numpy", "python"]


def python():
    """The interpreter."""
    return Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")


def numpy():
    """The version of NumPy."""
    return Finding("NumPy", metadata.version("numpy"))


def blas():
    """Which library multiplies matrices for NumPy, by whose kernels, and on how many threads."""
    try:
        array_library = get_backend("cpu").xp
        library = array_library.show_config(mode="dicts")["Build Dependencies"]["blas"]
        words = [f"{library['name']} {library['version']}"]
    except (KeyError, TypeError):
        return Finding("BLAS", "of an unknown kind", None)
    said, advice = os.environ.get("OPENBLAS_CORETYPE"), ""
    if kernels := blas_kernels():
        words.append(f"{kernels} kernels")
        if said:
            advice = (
                f"OPENBLAS_CORETYPE is {said}, and the kernels are those for {kernels}; with those "
                "that OpenBLAS picks by itself products may take half the time: unset it, if "
                "nothing needs it"
            )
    return Finding("BLAS", ", ".join([*words, _threads()]), advice=advice)


def _threads():
    """The number of threads, from OpenBLAS itself where it can be asked."""
    cores, count = f"{os.cpu_count()} cores", blas_threads()
    if count is not None:
        return f"{count} threads on {cores}"
    said = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={said}, {cores}" if said else f"threads of its own choice on {cores}"


def cpu():
    """Whether a gradient comes out right on the CPU."""
    try:
        x = tensor([1.0, 2.0], requires_grad=True)
        found = grad((x * x).sum(), x).tolist()
    except Exception as error:  # whatever it is, it is what the doctor has been asked to find
        return Finding("CPU", f"fails: {one_line(error)}", False, "install NumPy anew")
    if found != [2.0, 4.0]:
        return Finding("CPU", f"says that the slope of x² at 1 and 2 is {found}", False)
    return Finding("CPU", "works")


def mpi():
    """mpi4py and the MPI under it. Nothing here uses them yet, so there is nothing to do."""
    try:
        version = metadata.version("mpi4py")
    except metadata.PackageNotFoundError:
        return Finding("MPI", "mpi4py is not installed, and nothing here uses it", None)
    try:
        import mpi4py

        mpi4py.rc.initialize = False  # only to ask for its name
        from mpi4py import MPI

        library = one_line(MPI.Get_library_version())
    except Exception as error:  # a broken MPI fails in its own ways, RuntimeError among them
        return Finding("MPI", f"mpi4py {version}: {one_line(error)}", None)
    return Finding("MPI", f"mpi4py {version} over {library}")
