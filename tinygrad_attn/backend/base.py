"""What array libraries do differently, gathered in one class.

NumPy and CuPy agree on almost everything: both have ``exp``, ``sum`` and ``matmul`` under the same
names, so an op asks ``namespace(x)`` for the library of its array and writes plain array language.
The few things on which they disagree are the methods below. Most have a portable default in that
same array language, and a backend overrides what its library does better; the others, which raise
NotImplementedError here, every backend must have.
"""

from ..errors import DeviceError
from .random import keep_mask

__all__ = ["Backend"]


class Backend:
    """One array library on one kind of device. Knows arrays, never Tensors.

    To support another library, subclass, fill in ``name``, ``xp`` and ``array_type``, override what
    differs, and call ``register_backend``.
    """

    name = "abstract"
    """The device name that users write: "cpu", "cuda"."""

    xp = None
    """The module that speaks NumPy's names for these arrays."""

    array_type = ()
    """The class of the arrays, by which a backend is found from an array."""

    kernels = {}
    """Kernels of this backend by the name of the op; one without an entry runs its portable kernel.

    "adam" is the one that belongs to no op: the step of an optimizer, which works in place."""

    reading_waits = False
    """Whether to look at a value means to wait until the device has done all that it was given."""

    # ---- devices and transfers ---------------------------------------------------------------

    def device_of(self, array):
        """The device of an array, as the user writes it."""
        return self.name

    def on(self, device):
        """A context manager: arrays made inside it live on ``device``."""
        raise NotImplementedError

    def from_host(self, array, device):
        """Copy a NumPy array to ``device`` of this backend."""
        raise NotImplementedError

    def to_host(self, array):
        """The same values as a NumPy array."""
        raise NotImplementedError

    def validate(self, device):
        """Return the full name of ``device``, or raise DeviceError if this machine lacks it."""
        if device != self.name:
            raise DeviceError(
                f'to("{device}"): no device "{device}": the {self.name} backend has only '
                f'"{self.name}"; write that'
            )
        return device

    def note_span(self, array, least, greatest, ascends=False):
        """Take note that the whole numbers in a new array lie in least..greatest; and ascend?"""

    def lies_within(self, array, low, end, but=None):
        """Whether the whole numbers in ``array``, one at least, are all in low..end−1.

        Those that equal ``but`` may be passed over. A False may be more careful than need be.
        """
        return int(array.min()) >= low and int(array.max()) < end

    def ascends(self, array):
        """Whether no number in ``array`` is below the one before it on the last axis."""
        return not (array[..., 1:] < array[..., :-1]).any()

    def synchronize(self):
        """Wait until all work given to the device is done. A CPU is never behind."""

    # ---- arithmetic where the libraries differ -----------------------------------------------

    def asarray(self, value):
        """An array from whatever a reduction returned; some libraries answer with a bare scalar."""
        return self.xp.asarray(value)

    def matmul(self, a, b):
        """Matrix product by NumPy's rules, 16-bit floats accumulated in float32."""
        if a.dtype.itemsize == 2 and a.dtype.kind not in "iub":
            wide = self.xp.matmul(a.astype(self.xp.float32), b.astype(self.xp.float32))
            return wide.astype(a.dtype)
        return self.xp.matmul(a, b)

    def keep(self, x, mask):
        """``x`` where ``mask`` holds, elsewhere exactly 0, whatever infinity or NaN ``x`` has
        there."""
        return self.xp.where(mask, x, 0)

    def keep_mask(self, shape, p, key):
        """``keep_mask`` of ``random.py``, on the device in use."""
        return keep_mask(self.xp, shape, p, key)

    def erf(self, x):
        """The error function, 2/√π ∫₀ˣ exp(−t²) dt."""
        raise NotImplementedError

    def erfc(self, x):
        """1 − erf(x), accurate where erf(x) is nearly 1."""
        raise NotImplementedError

    def index_add(self, target, index, values):
        """``target[index] += values`` in place, where repeated indices add up."""
        raise NotImplementedError

    def index_put(self, target, index, values):
        """``target[index] = values`` in place, where of repeated indices the last one stays."""
        target[index] = values
