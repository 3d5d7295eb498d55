"""Flash attention on a GPU: what hands a call of ``dense_attention`` or ``tiled_attention`` to the
kernels of ``attention_forward.cu`` and ``attention_backward.cu``.

The kernels read memory where they are told to and check nothing, so all that they rely on is seen
to here. A call that is not for them, of float64 or of very wide heads, is answered by
NotImplemented, and the portable kernel computes it.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..random import start_of

__all__ = ["PROBLEM", "Attention", "Plan"]

FAR = 2**62  # no two positions are so far apart
THREADS = 128  # of a block: see tiles.cuh
WIDTHS = (32, 64, 96, 128)  # of heads, which are filled up to the next of these

_strides = [(name, "i8") for name in ("batch", "head", "row")]
_pair_strides = [(name, "i8") for name in ("batch", "head", "query", "key")]
PROBLEM = np.dtype(
    [
        *((name, _strides) for name in ("q", "k", "v", "g")),
        *((name, _pair_strides) for name in ("mask", "bias")),
        *((name, "i8") for name in ("q_positions", "k_positions", "offset", "least", "most")),
        ("drop_key", "u8"),
        *((name, "i4") for name in ("batch", "heads", "key_heads", "queries", "keys")),
        *((name, "i4") for name in ("width", "width_v", "is_aligned")),
        ("dropped", "u4"),
        *((name, "f4") for name in ("scale", "softcap", "upscale")),
    ]
)
"""The struct Problem of pairs.cuh, which a launch takes by value."""


class Plan(NamedTuple):
    """How a kernel is compiled: the macros that its source asks for."""

    arithmetic: str
    width: int
    width_v: int
    bands: int
    columns: int
    shaped: bool

    @classmethod
    def make(cls, arithmetic, width, width_v, shaped, backward):
        """The plan for a call: tiles as large as registers and 99 KB of shared memory allow."""
        width, width_v = (min(w for w in WIDTHS if w >= size) for size in (width, width_v))
        is_half, both = arithmetic.endswith("16"), width + width_v
        bands = 2 if is_half and both <= 128 and not backward else 1
        if is_half:
            columns = 64 if not backward or both <= 192 else 32
        else:
            columns = 64 if both <= 128 - 64 * backward else 32 if both <= 192 else 16
        return cls(arithmetic, width, width_v, bands, columns, shaped)

    @property
    def options(self):
        """The macros, as the compiler takes them."""
        pairs = self._asdict().items()
        macros = [f"-D{k.upper()}={int(v) if k == 'shaped' else v}" for k, v in pairs]
        return ("-std=c++17", *macros)

    @property
    def rows(self):
        """How many rows a block of threads has: each of its warps 16, or twice as many."""
        return THREADS // 2 * self.bands

    def shared_bytes(self, tiles_of_rows, ends=0):
        """The shared memory of a block: its rows, and two tiles of columns with their ends."""
        size = 2 if self.arithmetic.endswith("16") else 4
        row, row_v = self.width * size + 16, self.width_v * size + 16
        rows = row if tiles_of_rows == 1 else row + row_v
        return self.rows * rows + 2 * self.columns * (row + row_v + ends)


class Attention:
    """The kernel of ``dense_attention`` and ``tiled_attention`` on a GPU.

    Args:
        cupy: the module.
        allows_tf32: a function that tells whether float32 factors may be rounded to TF32.
    """

    takes_halves = True  # 16-bit floats as they are

    def __init__(self, cupy, allows_tf32=lambda: False):
        self.xp, self._allows_tf32 = cupy, allows_tf32
        self._kernels = {}

    def __call__(
        self,
        q,
        k,
        v,
        bias=None,
        sinks=None,
        mask=None,
        q_positions=None,
        k_positions=None,
        *,
        needs,
        **options,
    ):
        arithmetic = self._arithmetic(q, k, v)
        if arithmetic is None or not _is_for_us(q, v, bias, needs, options["scale"]):
            return NotImplemented
        with q.device:
            call = _Call(self, arithmetic, q, k, v, bias, sinks, mask, needs[3])
            call.set_pairs(q_positions, k_positions, **options)
            y = call.forward()

        def backward(g):
            with q.device:
                return call.backward(g, needs)

        return y, backward

    def _arithmetic(self, q, k, v):
        """How products are computed, by the name that warp.cuh has for it; None: not here."""
        if not q.dtype == k.dtype == v.dtype:
            return None
        if q.dtype == dtypes.float32:
            return "TFLOAT32" if self._allows_tf32() else "FLOAT32"
        names = {dtypes.float16: "FLOAT16", dtypes.bfloat16: "BFLOAT16"}
        return names.get(q.dtype)

    def launch(self, name, plan, blocks, shared_bytes, *args):
        """Start a kernel of the file that its name begins with; arrays may be None."""
        if not blocks:
            return
        key = name, plan, self.xp.cuda.runtime.getDevice()
        if key not in self._kernels:
            file = "attention_forward.cu" if "forward" in name else "attention_backward.cu"
            module = self.xp.RawModule(code=source(file), options=plan.options)
            self._kernels[key] = module.get_function(name)
            self._kernels[key].max_dynamic_shared_size_bytes = max(shared_bytes, 48 * 1024)
        args = [np.uintp(0) if arg is None else arg for arg in args]
        self._kernels[key]((blocks,), (THREADS,), tuple(args), shared_mem=shared_bytes)


def source(file):
    """The text of a ``.cu`` file, with that of the headers it includes in their place.

    CuPy remembers what it compiled by the text alone; it would not see a header change.
    """
    lines = []
    for line in Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines():
        is_ours = line.startswith('#include "')
        lines.append(source(line.split('"')[1]) if is_ours else line)
    return "\n".join(lines) + "\n"


def _is_for_us(q, v, bias, needs, scale):
    """Whether the kernels can compute a call of these shapes."""
    if not (0 < q.shape[-1] <= WIDTHS[-1] and 0 < v.shape[-1] <= WIDTHS[-1]):
        return False
    if needs[3] and bias.shape[-2:] != (q.shape[-2], v.shape[-2]):
        return False  # its gradient is a sum over queries or keys, and would take memory T²
    return 0 < scale < math.inf


class _Call:
    """One call: its arrays as the kernels take them, with one axis of sequences."""

    def __init__(self, owner, arithmetic, q, k, v, bias, sinks, mask, needs_bias):
        self.owner, self.xp, self.arithmetic = owner, owner.xp, arithmetic
        self.shape = q.shape
        self.batch, self.batch_shape = math.prod(q.shape[:-3]), q.shape[:-3]
        self.q, self.k, self.v = map(self._rows, (q, k, v))
        self.mask = None if mask is None else self._pairs(mask)
        self.bias = None if bias is None else self._pairs(bias.astype(dtypes.float32, copy=False))
        self.sinks = None if sinks is None else sinks.astype(dtypes.float32, copy=False)
        p = self.problem = np.zeros((), PROBLEM)
        p["batch"] = self.batch
        p["heads"], p["queries"], p["width"] = q.shape[-3:]
        p["key_heads"], p["keys"], p["width_v"] = v.shape[-3:]
        for name, array in (("q", self.q), ("k", self.k), ("v", self.v)):
            p[name] = tuple(n // array.itemsize for n in array.strides[:3])
        for name, array in (("mask", self.mask), ("bias", self.bias)):
            if array is not None:
                p[name] = tuple(
                    0 if size == 1 else n // array.itemsize
                    for n, size in zip(array.strides, array.shape)
                )

    def set_pairs(self, q_positions, k_positions, *, causal, window, scale, softcap, drop):
        """Who attends whom by position, and what becomes of the scores."""
        p, is_limited = self.problem, causal or window is not None
        width = FAR if window is None else min(window - 1, FAR)
        p["least"], p["most"] = 0 if causal else -width, width
        p["offset"] = p["keys"] - p["queries"]
        self.positions = [
            self._positions(name, x) if is_limited and x is not None else None
            for name, x in (("q_positions", q_positions), ("k_positions", k_positions))
        ]
        p["scale"], p["softcap"] = scale, softcap or 0
        p["upscale"] = 1
        if drop is not None:
            p["dropped"] = round(drop.rate * 2**16)
            p["drop_key"], p["upscale"] = start_of(drop.key), drop.upscale
        shaped = (self.mask, self.bias, softcap, drop) != (None,) * 4
        widths = int(p["width"]), int(p["width_v"])
        self.plans = [Plan.make(self.arithmetic, *widths, shaped, back) for back in (False, True)]

    def _rows(self, x):
        """x as (B, heads, length, width), its columns side by side."""
        x = x.reshape(self.batch, *x.shape[-3:])
        is_dense = x.strides[-1] == x.itemsize or x.shape[-1] == 1
        return x if is_dense else self.xp.ascontiguousarray(x)

    def _pairs(self, x):
        """x as (B, H, T, S), where any of these may be 1."""
        x = x.reshape((1,) * (len(self.batch_shape) + 3 - x.ndim) + x.shape)
        if math.prod(x.shape[:-3]) == 1:
            return x.reshape(1, *x.shape[-3:])
        return self.xp.broadcast_to(x, (*self.batch_shape, *x.shape[-3:])).reshape(
            self.batch, *x.shape[-3:]
        )

    def _positions(self, name, x):
        """Positions as int64, (length,) or (B, length)."""
        if x.ndim > 1:
            x = self.xp.broadcast_to(x, (*self.batch_shape, x.shape[-1]))
            self.problem[name] = x.shape[-1]
        return self.xp.ascontiguousarray(x.astype(dtypes.int64, copy=False))

    def _blocks(self, heads, length, rows):
        """How many blocks of threads there are for rows of all heads."""
        return self.batch * int(self.problem[heads]) * -(-int(self.problem[length]) // rows)

    def _see_alignment(self, *arrays):
        """Note whether the kernels may copy rows 16 bytes at a time."""
        numbers = []
        for x in arrays:
            numbers += [x.data.ptr, x.shape[-1] * x.itemsize]
            numbers += [n for n, size in zip(x.strides[:-1], x.shape) if size > 1]
        self.problem["is_aligned"] = all(n % 16 == 0 for n in numbers)

    def forward(self):
        """y, in the shape of the call; what the way back needs of each row stays here."""
        xp, plan = self.xp, self.plans[0]
        length = self.q.shape[:3]
        self.y = xp.empty((*length, self.v.shape[-1]), dtype=self.q.dtype)
        self.log_total = xp.empty(length, dtype=dtypes.float32)
        self._see_alignment(self.q, self.k, self.v)
        self.owner.launch(
            "attention_forward",
            plan,
            self._blocks("heads", "queries", plan.rows),
            plan.shared_bytes(1),
            *(self.q, self.k, self.v, self.bias, self.sinks, self.mask, *self.positions),
            *(self.y, self.log_total, self.problem),
        )
        return self.y.reshape(*self.shape[:-1], self.v.shape[-1])

    def backward(self, g, needs):
        """The gradients of q, k, v, bias and sinks, None for those that nobody needs."""
        xp, plan, launch = self.xp, self.plans[1], self.owner.launch
        g = self._rows(g.astype(self.q.dtype, copy=False))
        self.problem["g"] = tuple(n // g.itemsize for n in g.strides[:3])
        self._see_alignment(self.q, self.k, self.v, g)
        delta = xp.empty(self.q.shape[:3], dtype=dtypes.float32)
        launch("attention_delta", plan, -(-delta.size // 4), 0, g, self.y, delta, self.problem)
        inputs = (self.q, self.k, self.v, g, self.bias, self.mask, *self.positions)
        inputs += (self.log_total, delta)
        gq = gk = gv = gbias = gsinks = None
        if needs[0] or needs[3]:
            gq = xp.empty(self.q.shape, dtype=self.q.dtype)
            if needs[3]:
                gbias = xp.zeros((*self.q.shape[:3], self.k.shape[2]), dtype=dtypes.float32)
            blocks = self._blocks("heads", "queries", plan.rows)
            shared = plan.shared_bytes(2, ends=8)
            args = (*inputs, gq, gbias, self.problem)
            launch("attention_backward_queries", plan, blocks, shared, *args)
        if needs[1] or needs[2]:
            gk = xp.empty(self.k.shape, dtype=self.k.dtype)
            gv = xp.empty(self.v.shape, dtype=self.v.dtype)
            blocks = self._blocks("key_heads", "keys", plan.rows)
            shared = plan.shared_bytes(2, ends=8)
            args = (*inputs, gk, gv, self.problem)
            launch("attention_backward_keys", plan, blocks, shared, *args)
        if needs[4]:
            taken = xp.exp2(self.sinks[:, None] * math.log2(math.e) - self.log_total) * delta
            gsinks = -xp.sum(taken, axis=(0, 2))
        parts = (gq, gk, gv, gbias)
        shapes = [(*self.batch_shape, *x.shape[1:]) if x is not None else None for x in parts]
        parts = [x if x is None else x.reshape(s) for x, s in zip(parts, shapes)]
        return (*(x if need else None for x, need in zip(parts, needs)), gsinks)
