"""Flash attention on a GPU: what hands a call of ``dense_attention`` or ``tiled_attention`` to the
kernels of ``attention_forward.cu`` and ``attention_backward.cu``.

The kernels read memory where they are told to and check nothing, so all that they rely on is seen
to here. A call that is not for them, of float64 or of very wide heads, is answered by
NotImplemented, and the portable kernel computes it. Nothing here waits for the GPU.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from .. import dtypes, namespace
from ..precision import matmul_precision
from ..random import start_of
from .launch import laid_out_as, source

__all__ = ["PROBLEM", "Plan", "attention"]

FAR = 2**62  # no two positions are so far apart
THREADS = 128  # of a block: see tiles.cuh
WIDTHS = (32, 64, 96, 128)  # of heads, which are filled up to the next of these
ARITHMETIC = {dtypes.float16: "FLOAT16", dtypes.bfloat16: "BFLOAT16", dtypes.float32: "FLOAT32"}

_strides = [(name, "i8") for name in ("batch", "head", "row")]
_pair_strides = [(name, "i8") for name in ("batch", "head", "query", "key")]
PROBLEM = np.dtype(
    [
        *((name, _strides) for name in ("q", "k", "v", "y", "g", "gq", "gk", "gv")),
        *((name, _pair_strides) for name in ("mask", "bias")),
        *((name, "i8") for name in ("q_positions", "k_positions", "offset", "least", "most")),
        ("drop_key", "u8"),
        *((name, "i4") for name in ("batch", "heads", "key_heads", "queries", "keys")),
        *((name, "i4") for name in ("width", "width_v", "is_aligned", "has_rule")),
        ("dropped", "u4"),
        *((name, "f4") for name in ("scale", "softcap", "upscale")),
    ],
    align=True,
)
"""The struct Problem of pairs.cuh, which a launch takes by value."""


class Plan(NamedTuple):
    """How the kernels of one direction are compiled: the macros that their source asks for."""

    arithmetic: str
    width: int
    width_v: int
    bands: int
    columns: int
    general: bool
    backward: bool

    @classmethod
    def make(cls, arithmetic, width, width_v, *, general, backward):
        """Tiles as large as registers and shared memory allow: larger ones read memory less."""
        width, width_v = (min(w for w in WIDTHS if w >= size) for size in (width, width_v))
        both, bands = width + width_v, 1
        if not arithmetic.endswith("16"):
            narrow, wide = (64, 128) if backward else (128, 192)
            columns = 64 if both <= narrow else 32 if both <= wide else 16
        elif general or (backward and both > 128):
            columns = 64 if both <= 128 else 32
        else:
            bands, columns = 2, 32 if backward or both > 128 else 64
        return cls(arithmetic, width, width_v, bands, columns, general, backward)

    @property
    def options(self):
        """The macros, as the compiler takes them."""
        macros = self._replace(general=int(self.general))._asdict()
        return "-std=c++17", *(f"-D{k.upper()}={v}" for k, v in macros.items() if k != "backward")

    @property
    def rows(self):
        """How many rows a block of threads has: each of its warps 16, or twice as many."""
        return THREADS // 2 * self.bands

    @property
    def shared_bytes(self):
        """The shared memory of a block: its rows and two tiles of columns.

        Every row has 16 bytes more than its numbers; on the way back there are rows of q and v,
        and of every query two floats.
        """
        size = 2 if self.arithmetic.endswith("16") else 4
        row, row_v = self.width * size + 16, self.width_v * size + 16
        rows, ends = (row + row_v, 8) if self.backward else (row, 0)
        return self.rows * rows + 2 * self.columns * (row + row_v + ends)


def attention(q, k, v, bias, sinks, mask, *positions, needs, **options):
    """(y, backward), or NotImplemented: see ``tiled_attention``."""
    if not _is_for_us(q, k, v, bias, needs, options["scale"]):
        return NotImplemented
    call = _Call(q, k, v, bias, sinks, mask, positions, **options)
    limit = _shared_limit(call.xp, _device(call.xp))
    if any(plan.shared_bytes > limit for plan in call.plans):
        return NotImplemented
    return call.forward(), lambda g, into=None: call.backward(g, needs, into or (None,) * 3)


attention.takes_halves = True  # 16-bit floats as they are


def _device(xp):
    return xp.cuda.runtime.getDevice()


@cache
def _shared_limit(xp, device):
    """How much shared memory a block may have; none on a GPU whose tensor cores are too old."""
    gpu = xp.cuda.Device(device)
    is_new = int(gpu.compute_capability) >= 80
    return gpu.attributes["MaxSharedMemoryPerBlockOptin"] if is_new else 0


@cache
def _module(xp, plan):
    """The kernels of one direction, compiled when one is first launched."""
    code = source("attention_backward.cu" if plan.backward else "attention_forward.cu")
    return xp.RawModule(code=code, options=plan.options)


@cache
def _kernel(xp, device, name, plan, shared_bytes):
    """A kernel as compiled by a plan, for one device."""
    kernel = _module(xp, plan).get_function(name)
    if shared_bytes > 48 * 1024:  # more than that is to be asked for
        kernel.max_dynamic_shared_size_bytes = shared_bytes
    return kernel


def _launch(xp, name, plan, grid, args, shared_bytes=0):
    """Start a kernel, unless it has nothing to do; an array among its arguments may be None."""
    if 0 not in grid:
        args = tuple([np.uintp(0) if arg is None else arg for arg in args])
        kernel = _kernel(xp, _device(xp), name, plan, shared_bytes)
        kernel(grid, (THREADS,), args, shared_mem=shared_bytes)


def _arithmetic(dtype):
    """How products are computed, by the name that warp.cuh has for it."""
    is_rounded = dtype == dtypes.float32 and matmul_precision() == "high"
    return "TFLOAT32" if is_rounded else ARITHMETIC[dtype]


def _is_for_us(q, k, v, bias, needs, scale):
    """Whether the kernels can compute a call."""
    if q.dtype not in ARITHMETIC or not q.dtype == k.dtype == v.dtype:
        return False
    if not (0 < q.shape[-1] <= WIDTHS[-1] and 0 < v.shape[-1] <= WIDTHS[-1]):
        return False
    if max(math.prod(q.shape[:-3]), q.shape[-3]) > 65535:  # what a grid may have across
        return False
    if needs[3] and bias.shape[-2:] != (q.shape[-2], v.shape[-2]):
        return False  # its gradient, a sum over queries or keys, would take memory T² on the way
    return 0 < scale < math.inf


class _Call:
    """One call: its arrays as the kernels take them, with one axis of sequences."""

    def __init__(self, q, k, v, bias, sinks, mask, positions, *, drop, **options):
        self.xp, self.batch_shape = namespace(q), q.shape[:-3]
        self.q, self.k, self.v = map(self._rows, (q, k, v))
        self.mask, self.bias, self.sinks = self._pairs(mask), self._pairs(bias), sinks
        p = self.problem = np.zeros((), PROBLEM)
        p["batch"], p["heads"], p["queries"], p["width"] = self.q.shape
        p["key_heads"], p["keys"], p["width_v"] = v.shape[-3:]
        self._set_strides(q=self.q, k=self.k, v=self.v, mask=self.mask, bias=self.bias)
        self._set_scores(drop, **options)
        self.positions = [
            self._positions(name, x, options)
            for name, x in zip(("q_positions", "k_positions"), positions)
        ]
        is_aligned = self._see_alignment(self.q, self.k, self.v)
        is_plain = bias is mask is options["softcap"] is drop is None and is_aligned
        arithmetic, widths = _arithmetic(q.dtype), (q.shape[-1], v.shape[-1])
        self.plans = [
            Plan.make(arithmetic, *widths, general=not is_plain, backward=backward)
            for backward in (False, True)
        ]

    def _rows(self, x):
        """x as (B, heads, length, width), its columns side by side."""
        x = x.reshape(math.prod(self.batch_shape), *x.shape[-3:])
        is_dense = x.strides[-1] == x.itemsize or x.shape[-1] == 1
        return x if is_dense else self.xp.ascontiguousarray(x)

    def _pairs(self, x):
        """A mask, or a bias in float32, as (B, H, T, S), where any of these may be 1."""
        if x is None:
            return None
        x = x if x.dtype == dtypes.bool_ else x.astype(dtypes.float32, copy=False)
        x = x.reshape((1,) * (len(self.batch_shape) + 3 - x.ndim) + x.shape)
        if math.prod(x.shape[:-3]) != 1:
            x = self.xp.broadcast_to(x, (*self.batch_shape, *x.shape[-3:]))
        return x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])

    def _set_strides(self, **arrays):
        """Note the strides of arrays, in elements, and 0 along axes of size 1."""
        for name, x in arrays.items():
            if x is not None:
                steps = zip(x.strides, x.shape[: len(PROBLEM[name])])
                self.problem[name] = tuple(s // x.itemsize if n > 1 else 0 for s, n in steps)

    def _set_scores(self, drop, *, causal, window, scale, softcap):
        """Note what becomes of scores, and how far keys may be behind their query."""
        p, reach = self.problem, FAR if window is None else min(window - 1, FAR)
        p["offset"] = p["keys"] - p["queries"]
        p["least"], p["most"] = 0 if causal else -reach, reach
        p["has_rule"] = causal or window is not None or self.mask is not None
        p["scale"], p["softcap"], p["upscale"] = scale, softcap or 0, 1
        if drop is not None:
            p["drop_key"], p["dropped"] = start_of(drop.key), round(drop.rate * 2**16)
            p["upscale"] = drop.upscale

    def _positions(self, name, x, options):
        """Positions as int64, (length,) or (B, length); None where they do not matter."""
        if x is None or not (options["causal"] or options["window"]):
            return None
        if x.ndim > 1:
            x = self.xp.broadcast_to(x, (*self.batch_shape, x.shape[-1]))
            self.problem[name] = x.shape[-1]
        return self.xp.ascontiguousarray(x.astype(dtypes.int64, copy=False))

    def _see_alignment(self, *arrays):
        """Note, and return, whether rows may be copied 16 bytes at a time."""
        numbers = []
        for x in arrays:
            numbers += [x.data.ptr, x.shape[-1] * x.itemsize]
            numbers += [s for s, n in zip(x.strides[:-1], x.shape) if n > 1]
        is_aligned = all(n % 16 == 0 for n in numbers)
        self.problem["is_aligned"] = is_aligned
        return is_aligned

    def _launch(self, name, plan, heads, length, args):
        """Launch a kernel whose blocks have rows of ``length``, in so many heads."""
        grid = (-(-length // plan.rows), heads, self.q.shape[0])
        _launch(self.xp, name, plan, grid, (*args, self.problem), plan.shared_bytes)

    def forward(self):
        """y in the shape of the call; what the way back needs of each row stays here."""
        q, k, v, xp = self.q, self.k, self.v, self.xp
        self.y = laid_out_as(q, v.shape[3])
        self._set_strides(y=self.y)
        self.log_total = xp.empty(q.shape[:3], dtype=dtypes.float32)
        sinks = None if self.sinks is None else self.sinks.astype(dtypes.float32, copy=False)
        args = (q, k, v, self.bias, sinks, self.mask, *self.positions, self.y, self.log_total)
        self._launch("attention_forward", self.plans[0], q.shape[1], q.shape[2], args)
        return self._as_called(self.y)

    def backward(self, g, needs, into):
        """The gradients of q, k, v, bias and sinks, None for those that nobody needs.

        Those of q, k and v are written ``into`` the arrays given there, if they are any.
        """
        q, k, v, xp = self.q, self.k, self.v, self.xp
        g, plan = self._rows(g.astype(q.dtype, copy=False)), self.plans[1]
        wanted = needs[0], *(needs[1] or needs[2],) * 2
        gq, gk, gv = (
            None if not need else laid_out_as(x, x.shape[3]) if place is None else self._rows(place)
            for x, place, need in zip((q, k, v), into, wanted)
        )
        self._set_strides(g=g, gq=gq, gk=gk, gv=gv)
        if not self._see_alignment(q, k, v, g):
            plan = Plan.make(plan.arithmetic, *plan[1:3], general=True, backward=True)
        delta, gbias = xp.empty(q.shape[:3], dtype=dtypes.float32), None
        if needs[3]:
            gbias = xp.zeros((*q.shape[:3], k.shape[2]), dtype=dtypes.float32)
        rules = (self.bias, self.mask, *self.positions, self.log_total, delta)
        args = (q, k, v, g, self.y, *rules, gq, gbias)
        self._launch("attention_backward_queries", plan, q.shape[1], q.shape[2], args)
        if gk is not None:
            args = (q, k, v, g, *rules, gk, gv)
            self._launch("attention_backward_keys", plan, k.shape[1], k.shape[2], args)
        gsinks = None
        if needs[4]:  # a sink holds the weight that the keys of its row leave over
            left = xp.exp2(self.sinks[:, None] * math.log2(math.e) - self.log_total)
            gsinks = -xp.sum(left * delta, axis=(0, 2))
        parts = zip((gq, gk, gv, gbias), (*into, None), needs)
        return *(self._as_called(x, place) if need else None for x, place, need in parts), gsinks

    def _as_called(self, x, place=None):
        """x (B, …) with the axes of sequences that the call had; the place that it was written to,
        if that is one."""
        if place is not None and place.data.ptr == x.data.ptr:
            return place
        return x.reshape(*self.batch_shape, *x.shape[1:])
