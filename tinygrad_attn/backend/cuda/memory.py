"""What to say when the memory of a GPU is full."""

from ...errors import OutOfMemoryError

__all__ = ["explain_shortage"]


def explain_shortage(cupy, name):
    """From now on a failed allocation of CuPy's raises our OutOfMemoryError, wherever it happens.

    CuPy's own allocator, whichever is set, does the work as before; it has by then given back all
    that it kept for later and tried again.
    """
    allocate, shortage = cupy.cuda.get_allocator(), cupy.cuda.memory.OutOfMemoryError

    def allocate_or_explain(size):
        try:
            return allocate(size)
        except shortage as error:
            device = cupy.cuda.Device()
            raise OutOfMemoryError(
                _message(f"{name}:{device.id}", size, *device.mem_info)
            ) from error

    cupy.cuda.set_allocator(allocate_or_explain)


def _message(device, size, free, total):
    return (
        f'"{device}": out of memory: asked for {_readable(size)}, but {_readable(free)} of '
        f"{_readable(total)} are free; try a smaller batch or shorter sequences, ta.recompute "
        "around some layers, 16-bit floats, or see with nvidia-smi who else uses it"
    )


def _readable(size):
    """A number of bytes as people say it: "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
