"""What every op does when it is called: take tensors apart, compute, and note down what fed what.

The two kinds of op, ``Primitive`` and ``Fused``, differ in how they compute and in how they go
back. This is what they share, and the only place where tensors become arrays and arrays tensors.
"""

import functools
import inspect
import sys

from ..backend import array_from, array_types, backend_of, dtypes, is_array, namespace
from ..errors import DeviceError, DTypeError, IndexRangeError, ShapeError, TinygradAttnError
from .graph import Node, call_site, mode
from .tensor import Tensor

__all__ = ["Op", "sum_to"]

FAILURES = (ValueError, TypeError, IndexError, OverflowError)
_ALL = range(sys.maxsize)


class Op:
    """A function of arrays, made callable with tensors.

    Positional parameters may be tensors; those for which a derivative is known (``differentiable``,
    by position) are the ones that share a dtype and through which gradients flow. An op over any
    number of tensors is written with ``*xs`` and takes the rest by keyword.
    """

    is_bare = False
    """Whether ``forward`` alone, called with the arrays, is all there is to computing."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.name = function.__name__.strip("_")
        self.forward = function
        parameters = inspect.signature(function).parameters.values()
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self.positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.arity = -1 if self.variadic else len(self.positional)
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.differentiable = _ALL if self.variadic else frozenset()

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return self.__qualname__  # copied and pickled as functions are: by name

    # ---- calling ---------------------------------------------------------------------------------

    def __call__(self, *args, **options):
        """Compute with tensors, numbers and arrays, and record what a gradient will need."""
        if options or len(args) != self.arity:
            args, options = self._bind(args, options)
        arrays, parents, wants, dtype = self._take_apart(args)
        record, watchers, trace = mode.get()
        wants = wants if record else 0
        try:
            if self.is_bare and dtype is not None and not options and not watchers:
                y, state = self.forward(*arrays), None
            else:
                arrays, y, state = self._compute(arrays, dtype, options, wants, watchers)
        except FAILURES as error:
            raise self._explain(error, arrays) from error
        if type(y) not in array_types:
            y = backend_of(y).asarray(y)
        if not wants or not (y.dtype is dtype or dtypes.is_float(y.dtype)):
            return Tensor(y)
        how, saved = self._keep(arrays, options, wants, y, state)
        node = Node(how, parents, saved, y.shape, y.dtype)
        if trace:
            node.site = call_site()
        return Tensor(y, node)

    def _run(self, arrays, options, wants, watchers):
        """Run the op; returns the result and whatever the way back wants to remember of the run."""
        raise NotImplementedError

    def _keep(self, arrays, options, wants, y, state):
        """Returns (an object with ``name`` and ``pull_back``, the arrays that it will need)."""
        raise NotImplementedError

    def _compute(self, arrays, dtype, options, wants, watchers):
        """Compute with options, watchers, or arguments to align; returns the aligned arrays too.

        Of whole numbers a sum is whole, but an exponential is not: a result that leaves the
        integers is computed in float32, as floats are everywhere unless asked otherwise.
        """
        arrays, whole = (arrays, False) if dtype is not None else self._align(arrays)
        y, state = self._run(arrays, options, wants, watchers)
        if whole and dtypes.is_float(y.dtype):
            arrays = [_cast(a, dtypes.float32) for a in arrays]
            y, state = self._run(arrays, options, wants, watchers)
        return arrays, y, state

    def _bind(self, args, options):
        """Sort arguments given by name or left out into their places."""
        known = self.positional if self.variadic is None else ()
        unknown = [name for name in options if name not in known and name not in self.options]
        if unknown or (self.variadic is None and len(args) > self.arity):
            given = (
                f"unknown argument {unknown[0]!r}"
                if unknown
                else f"{len(args)} positional arguments"
            )
            raise TypeError(
                f"{self.name}: {given}; the signature is {self.name}{inspect.signature(self)}"
            )
        values = {**self.defaults, **dict(zip(known, args)), **options}
        twice = [name for name in known[: len(args)] if name in options]
        missing = [name for name in (*known, *self.options) if name not in values]
        if twice or missing:
            what = f"{twice[0]!r} given twice" if twice else f"{missing[0]!r} is missing"
            raise TypeError(
                f"{self.name}: {what}; the signature is {self.name}{inspect.signature(self)}"
            )
        options = {name: values[name] for name in self.options}
        return [values[name] for name in known] if self.variadic is None else args, options

    # ---- tensors to arrays -----------------------------------------------------------------------

    def _take_apart(self, args):
        """Returns (raw arrays, the node of each, which want a gradient as bits of a number, their
        dtype).

        The dtype is None unless this is the common case, tensors of one float type and plain
        numbers, where nothing is left to align.
        """
        arrays, parents = list(args), [None] * len(args)
        wants, dtype, uniform, others = 0, None, True, False
        differentiable = self.differentiable
        for i, arg in enumerate(args):
            if isinstance(arg, Tensor):
                arrays[i] = arg.data
                if i not in differentiable:
                    others = True
                    continue
                if arg.node is not None:
                    parents[i] = arg.node
                    wants |= 1 << i
                if dtype is None:
                    dtype = arg.data.dtype
                elif arg.data.dtype is not dtype:
                    uniform = False
            elif i in differentiable:
                if type(arg) is not float and type(arg) is not int:
                    uniform = False
            elif type(arg) is tuple or type(arg) is list:
                arrays[i] = type(arg)([a.data if isinstance(a, Tensor) else a for a in arg])
        if others:
            self._device(arrays)
        if not (uniform and (dtype is dtypes.float32 or dtypes.is_float(dtype))):
            dtype = None
        return arrays, parents, wants, dtype

    def _align(self, arrays):
        """Bring the differentiable arguments to one dtype, on one device.

        Returns them with whether they are all whole numbers, so that a result that is not (exp of
        an integer) has to be computed in float32, as floats are everywhere unless asked otherwise.
        """
        arrays = list(arrays)
        home = self._device(arrays)
        places = range(len(arrays)) if self.variadic else sorted(self.differentiable)
        places = [i for i in places if arrays[i] is not None]
        alone = not any(is_array(arrays[i]) for i in places)
        for i in places:
            if dtypes.is_scalar(arrays[i]) and not alone:
                arrays[i] = dtypes.plain(
                    arrays[i]
                )  # a number beside tensors has no say in the dtype
            elif not is_array(arrays[i]):
                arrays[i] = array_from(arrays[i], home, self.name)
        found = [arrays[i].dtype for i in places if is_array(arrays[i])]
        if not found:
            return arrays, False
        common = functools.reduce(dtypes.promote, found)
        if not dtypes.is_float(common):
            if not any(type(arrays[i]) is float for i in places):
                return arrays, True
            common = dtypes.float32
        for i in places:
            arrays[i] = _cast(arrays[i], common)
        return arrays, False

    def _device(self, arrays):
        """The one device of all arrays, or None without any. Raises: DeviceError for two."""
        homes = {}
        for i, array in enumerate(arrays):
            if is_array(array):
                homes.setdefault(backend_of(array).device_of(array), i)
        if len(homes) > 1:
            operands = ", ".join(f'{self._name_of(i)} is on "{home}"' for home, i in homes.items())
            raise DeviceError(
                f"{self.name}: {operands}; nothing moves by itself: "
                "bring them together with .to(device)"
            )
        return next(iter(homes), None)

    def _name_of(self, i):
        return f"{self.variadic}[{i}]" if self.variadic else self.positional[i]

    def _explain(self, error, arrays):
        """The same failure in our words: which op, which rule, every operand."""
        if isinstance(error, TinygradAttnError):
            return error
        self._device(arrays)  # raises where arrays of two libraries are the real cause
        operands = ", ".join(
            f"{self._name_of(i)} is {tuple(a.shape)} {a.dtype}"
            for i, a in enumerate(arrays)
            if is_array(a)
        )
        if "broadcast" in str(error):
            rule = "shapes do not broadcast"
            return ShapeError(
                f"{self.name}: {rule}: {operands}; "
                "counted from the last axis, sizes must be equal or 1"
            )
        kind = ShapeError
        if isinstance(error, (TypeError, OverflowError)):
            kind = DTypeError
        elif isinstance(error, IndexError) and not isinstance(error, ValueError):
            kind = IndexRangeError
        return kind(f"{self.name}: {error} ({operands or 'no tensor among the arguments'})")


def _cast(value, dtype):
    """An array in ``dtype``, itself if it already is; numbers stay what they are."""
    return value.astype(dtype) if is_array(value) and value.dtype != dtype else value


def sum_to(x, shape):
    """Undo broadcasting: sum ``x`` over the copies that were made of ``shape``.

    If y[i, j] = x[j], then ∂L/∂x[j] = Σᵢ ∂L/∂y[i, j]: every copy contributes. Works on raw arrays
    and, when a gradient is to be differentiated again, on Tensors.
    Raises: ShapeError where ``x.shape`` cannot have come from ``shape`` by broadcasting.
    """
    extra = x.ndim - len(shape)
    copied = [i for i in range(x.ndim) if i < extra or (shape[i - extra] == 1 and x.shape[i] != 1)]
    rest = tuple(1 if i in copied else x.shape[i] for i in range(max(extra, 0), x.ndim))
    if rest != tuple(shape):
        raise ShapeError(f"sum_to: {x.shape} is not a broadcast form of {shape}")
    if dtypes.is_half(x.dtype):  # 16 bits would lose what they sum
        return sum_to(x.astype(dtypes.float32), shape).astype(x.dtype)
    summed = namespace(x).sum(x, axis=tuple(copied), keepdims=True) if copied else x
    return summed.reshape(shape)
