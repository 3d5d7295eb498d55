"""Random numbers: a generator that draws on the host, and a hash that makes dropout masks anywhere.

Weights, batches and permutations are drawn by NumPy on the host and copied to where they are
wanted, so the same seed gives the same numbers on every device. Dropout needs too many numbers for
that. Its mask is a *hash*: whether element i survives is computed from i and a key, on the device
itself, in whole-number arithmetic that has the same bits everywhere. Nothing is stored, and the
same key gives the same mask.
"""

import math
import secrets

import numpy as np

from ..errors import CheckpointError, DTypeError, ShapeError
from . import dtypes

__all__ = ["Generator", "keep_at", "keep_between", "keep_mask", "start_of"]


class Generator:
    """A source of random numbers, determined by its seed and by what has been drawn from it so far.

    Args:
        seed: a whole number that is not negative; without one the generator is like no other.

    Example:
        >>> import tinygrad_attn as ta
        >>> first = ta.randn(3, generator=ta.Generator(7))
        >>> bool((first == ta.randn(3, generator=ta.Generator(7))).all())
        True
    """

    def __init__(self, seed=None):
        self._begin(secrets.randbits(63) if seed is None else _checked("seed", seed), ())

    def _begin(self, seed, path):
        sequence = np.random.SeedSequence(seed, spawn_key=path)
        self.seed, self.path = seed, path
        self._bits = np.random.PCG64(sequence)
        self._host = np.random.Generator(self._bits)
        self._stream = int(
            sequence.generate_state(5, np.uint64)[-1]
        )  # beyond the words that PCG64 takes
        self._keys_drawn = 0

    def __repr__(self):
        return f"Generator({self.seed})" + (f".spawn{self.path}" if self.path else "")

    def spawn(self, *keys):
        """A generator of its own for each ``keys``, whole numbers; nothing is drawn from this one.

        ``Generator(0).spawn(epoch, step)`` is the same wherever and whenever it is asked for.
        """
        child = Generator.__new__(Generator)
        child._begin(self.seed, (*self.path, *(_checked("a key", key, 2**32) for key in keys)))
        return child

    def get_state(self):
        """All that determines what comes next, as a dictionary of numbers that JSON can hold."""
        bits = {**self._bits.state, "state": dict(self._bits.state["state"])}
        return {"seed": self.seed, "path": list(self.path), "keys": self._keys_drawn, "bits": bits}

    def set_state(self, state):
        """Go on from where ``get_state`` was called.

        Raises: CheckpointError for what it did not return.
        """
        try:
            self._begin(_checked("seed", state["seed"]), tuple(state["path"]))
            self._bits.state = state["bits"]
            self._keys_drawn = int(state["keys"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "Generator.set_state: this is no state of a generator; "
                "give what get_state() returned"
            ) from error

    # ---- drawing: NumPy arrays -----------------------------------------------------------------

    def uniform(self, shape, dtype):
        """Numbers in 0..1, 1 excluded."""
        if dtype == dtypes.float64:
            return self._host.random(shape)
        drawn = self._host.random(shape, np.float32)
        if dtype == dtypes.float32:
            return drawn
        steps = np.float32(
            2048 if dtype == dtypes.float16 else 256
        )  # as fine as 16 bits can tell below 1
        return (np.floor(drawn * steps) / steps).astype(dtype)

    def normal(self, shape, dtype):
        """Numbers from the normal distribution of mean 0 and deviation 1."""
        wide = np.float64 if dtype == dtypes.float64 else np.float32
        return self._host.standard_normal(shape, wide).astype(dtype, copy=False)

    def truncated_normal(self, shape, low, high):
        """Normal numbers on the condition that they lie in low..high, float64.

        By rejection: of normal proposals where the interval is likely, of uniform ones where it is
        not.
        """
        ends = math.erf(low / math.sqrt(2)), math.erf(high / math.sqrt(2))
        is_likely = ends[1] - ends[0] > 0.4  # twice the probability of the interval
        nearest = min(max(low, 0.0), high)  # where the density is largest
        reach = math.sqrt(nearest**2 + 80) - abs(nearest)  # beyond this it is e⁻⁴⁰ of that
        low, high = max(low, nearest - reach), min(high, nearest + reach)
        drawn = np.empty(math.prod(shape))
        missing = np.arange(drawn.size)
        while missing.size:
            if is_likely:
                proposed = self._host.standard_normal(missing.size)
                accepted = (proposed >= low) & (proposed <= high)
            else:
                proposed = self._host.uniform(low, high, missing.size)
                accepted = self._host.random(missing.size) < np.exp((nearest**2 - proposed**2) / 2)
            drawn[missing[accepted]] = proposed[accepted]
            missing = missing[~accepted]
        return drawn.reshape(shape)

    def integers(self, low, high, shape, dtype):
        """Whole numbers in low..high, high excluded."""
        return self._host.integers(low, high, shape, dtype)

    def permutation(self, n):
        """The numbers 0..n−1 in random order."""
        return self._host.permutation(n).astype(np.int64, copy=False)

    def choose(self, weights, count, replacement):
        """For each line of ``weights`` (rows, n) the positions (rows, count) that a draw finds."""
        rows, n = weights.shape
        if not replacement:  # the first arrivals of n processes with these rates, one after another
            with np.errstate(divide="ignore"):
                arrivals = self._host.standard_exponential((rows, n)) / weights
            return np.argsort(arrivals, axis=1, kind="stable")[:, :count]
        totals = np.cumsum(weights, axis=1)
        aims = self._host.random((rows, count)) * totals[:, -1:]
        found = [np.searchsorted(line, aim, side="right") for line, aim in zip(totals, aims)]
        last = (n - 1 - np.argmax(weights[:, ::-1] > 0, axis=1))[
            :, None
        ]  # if rounding aimed at the end
        return np.minimum(np.array(found, np.int64).reshape(rows, count), last)

    def draw_key(self):
        """A key for ``keep_mask``: a pair of whole numbers that this generator gives once."""
        self._keys_drawn += 1
        return self._stream, self._keys_drawn


def _checked(name, value, end=None):
    try:
        number = value.__index__()
    except (AttributeError, TypeError) as error:
        raise DTypeError(f"Generator: {name} is {value!r}; it must be a whole number") from error
    if number < 0 or (end is not None and number >= end):
        above = "" if end is None else f" and below {end}"
        raise ShapeError(f"Generator: {name} is {number}; it must not be negative{above}")
    return number


# ---- the hash ------------------------------------------------------------------------------------

_WORD = 2**64 - 1
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _mix(z):
    """Scatter the bits of a 64-bit number: change one, and half of all change."""
    z = ((z ^ z >> 30) * _FIRST) & _WORD
    z = ((z ^ z >> 27) * _SECOND) & _WORD
    return z ^ z >> 31


def keep_mask(xp, shape, p, key):
    """A boolean array, True with probability 1 − p: element i by a hash of i and ``key``.

    Each 64-bit hash decides about four elements by 16 bits each, so p is rounded to a multiple of
    2⁻¹⁶.
    Reference: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    return keep_between(xp, 0, math.prod(shape), p, key).reshape(shape)


def keep_between(xp, start, stop, p, key):
    """The elements start..stop−1 of a flat ``keep_mask``, and no others."""
    dropped = round(p * 2**16)
    if dropped == 2**16:
        return xp.zeros(stop - start, bool)
    first = start // 4
    z = _hash(xp, xp.arange(first, (stop + 3) // 4, dtype=xp.uint64), key)
    return z.view(xp.uint16)[start - 4 * first : stop - 4 * first] >= xp.uint16(dropped)


def keep_at(xp, index, p, key):
    """The elements of ``keep_mask`` at the flat ``index``, an array of uint64, and no others."""
    dropped = round(p * 2**16)
    if dropped == 2**16:
        return xp.zeros(index.shape, bool)
    z = _hash(xp, index >> xp.uint64(2), key)
    z >>= (index & xp.uint64(3)) << xp.uint64(4)  # its quarter: from bit 0, 16, 32 or 48 on
    return (z & xp.uint64(2**16 - 1)) >= xp.uint64(dropped)


def start_of(key):
    """The 64 bits at which the hashes of ``key`` start; kernels that hash themselves take them."""
    stream, number = key
    return _mix(stream ^ _mix(number & _WORD))


def _hash(xp, z, key):
    """Replace each number of the uint64 array ``z`` by 64 bits that look random."""
    z = z * xp.uint64(_STEP)
    z += xp.uint64(start_of(key))
    z ^= z >> xp.uint64(30)
    z *= xp.uint64(_FIRST)
    z ^= z >> xp.uint64(27)
    z *= xp.uint64(_SECOND)
    z ^= z >> xp.uint64(31)
    return z
