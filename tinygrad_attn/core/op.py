"""What every op does when it is called: take tensors apart, compute, and note down what fed what.

The two kinds of op, ``Primitive`` and ``Fused``, differ in how they compute and in how they go
back. This is what they share, and the only place where tensors become arrays and arrays tensors.
"""

import functools
import inspect
import sys

from ..backend import (
    array_from,
    array_types,
    backend_of,
    dtypes,
    is_array,
    namespace,
    require_real,
)
from ..errors import DeviceError, DTypeError, IndexRangeError, ShapeError, TinygradAttnError
from .graph import Node, mode
from .tensor import Tensor

__all__ = ["Op", "sum_to"]

FAILURES = (ValueError, TypeError, IndexError, OverflowError, AttributeError)
_ALL = range(sys.maxsize)  # every place, however many arguments there are


class Op:
    """A function of arrays, made callable with tensors.

    Positional parameters may be tensors; those for which a derivative is known (``differentiable``,
    by position) are the ones that share a dtype and through which gradients flow. An op over any
    number of tensors is written with ``*xs`` and takes the rest by keyword.
    """

    is_bare = False
    """Whether ``forward`` alone, called with the arrays, is all there is to computing."""

    precision = None
    """The rule under ``autocast``: "half", "float32", "widest", or None, what its table says."""

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
        if len(args) != self.arity or options.keys() != self.options:
            args, options = self._bind(args, options)
        arrays, parents, wants, dtype = self._take_apart(args)
        record, watchers, recorders, _, casting = mode.get()
        wants = wants if record else 0
        if casting is not None and dtype is not None and casting.dtype_for(self, dtype) != dtype:
            dtype = None  # the arguments are of one dtype, but not of the one to compute in
        try:
            if self.is_bare and dtype is not None and not options and not watchers:
                y, state = self.forward(*arrays), None
            else:
                arrays, y, state = self._compute(arrays, parents, dtype, options, wants, watchers)
        except TinygradAttnError:  # says what is wrong; from itself it would be a cycle
            raise
        except FAILURES as error:
            raise self._explain(error, arrays) from error
        if type(y) not in array_types:
            y = backend_of(y).asarray(y)
        if not wants or not (y.dtype is dtype or dtypes.is_float(y.dtype)):
            return Tensor(y)
        how, saved = self._keep(arrays, options, wants, y, state)
        node = Node(how, parents, saved, y.shape, y.dtype)
        for recorder in recorders:
            recorder(node, arrays)
        return Tensor(y, node)

    def _run(self, arrays, options, wants, watchers, given):
        """Run the op: (its result, whatever the way back wants to remember of the run).

        Watchers are shown the arguments as they were ``given``, before they were cast: what a cast
        to fewer bits loses, or makes infinite, counts as the op's own doing.
        """
        raise NotImplementedError

    def _keep(self, arrays, options, wants, y, state):
        """How to go back: (an object with ``name`` and ``pull_back``, what it will need saved)."""
        raise NotImplementedError

    def _compute(self, arrays, parents, dtype, options, wants, watchers):
        """Compute with options, watchers, or arguments to align; returns the aligned arrays too.

        Of whole numbers a sum is whole, but an exponential is not, and only running the op tells.
        A result that leaves the integers is then computed again in float32, which floats are
        everywhere unless asked otherwise.
        """
        given, whole = arrays, False
        if dtype is None:
            given, arrays, whole = self._align(arrays, parents)
        y, state = self._run(arrays, options, wants, watchers, given)
        if whole and dtypes.is_float(y.dtype):
            arrays = [_cast(a, dtypes.float32) for a in arrays]
            y, state = self._run(arrays, options, wants, watchers, given)
        return arrays, y, state

    def _bind(self, args, options):
        """Sort arguments given by name or left out into their places."""
        known = self.positional if self.variadic is None else ()
        unknown = [name for name in options if name not in known and name not in self.options]
        if unknown:
            raise self._misuse(f"unknown argument {unknown[0]!r}")
        if self.variadic is None and len(args) > self.arity:
            raise self._misuse(f"{len(args)} positional arguments")
        values = {**self.defaults, **dict(zip(known, args)), **options}
        twice = [name for name in known[: len(args)] if name in options]
        missing = [name for name in (*known, *self.options) if name not in values]
        if twice:
            raise self._misuse(f"{twice[0]!r} given twice")
        if missing:
            raise self._misuse(f"{missing[0]!r} is missing")
        args = args if self.variadic else [values[name] for name in known]
        return args, {name: values[name] for name in self.options}

    def _misuse(self, what):
        """The TypeError of a call that does not fit the signature."""
        signature = f"{self.name}{inspect.signature(self)}"
        return TypeError(f"{self.name}: {what}; the signature is {signature}")

    # ---- tensors to arrays -----------------------------------------------------------------------

    def _take_apart(self, args):
        """What the op computes with, and whom it came from: (arrays, parents, wants, dtype).

        ``parents`` are the nodes of the arguments; of the number ``wants`` bit i is set where
        argument i wants a gradient. The dtype is None unless this is the common case, tensors of
        one float type and plain numbers, where nothing is left to align.
        """
        arrays, parents = list(args), [None] * len(args)
        wants, dtype, uniform, has_constants = 0, None, True, False
        differentiable = self.differentiable
        for i, arg in enumerate(args):
            if isinstance(arg, Tensor):
                arrays[i] = arg.data
                if i not in differentiable:
                    has_constants = True
                    continue
                if arg.node is not None:
                    parents[i] = arg.node
                    wants |= 1 << i
                if dtype is None:
                    dtype = arg.data.dtype
                elif arg.data.dtype is not dtype:
                    uniform = False
            elif i in differentiable:
                if type(arg) is not float and type(arg) is not int and arg is not None:
                    uniform = False
                    if is_array(arg):  # its owner may write into it before the way back
                        require_real(self.name, arg, arg.dtype)
                        arrays[i] = arg.copy()
            elif type(arg) is tuple or type(arg) is list:
                arrays[i] = type(arg)([a.data if isinstance(a, Tensor) else a for a in arg])
        if has_constants:  # an index from another device a library may copy over silently
            self._device(arrays)
        if not (uniform and (dtype is dtypes.float32 or dtypes.is_native_float(dtype))):
            dtype = None
        return arrays, parents, wants, dtype

    def _align(self, arrays, parents):
        """Bring the differentiable arguments to one dtype, on one device.

        It is the widest of theirs, unless ``autocast`` wants another. The way back needs to know
        nothing of that: it casts every gradient to the dtype of its argument anyway (``plan.fit``).

        Returns: (arrays in their own dtypes, in the common one, whether that is of whole numbers).
        """
        arrays = list(arrays)
        home = self._device(arrays)
        places = range(len(arrays)) if self.variadic else sorted(self.differentiable)
        places = [i for i in places if arrays[i] is not None]
        has_array = any(is_array(arrays[i]) for i in places)
        for i in places:
            if has_array and dtypes.is_scalar(arrays[i]):  # beside arrays: no say in the dtype
                arrays[i] = dtypes.plain(arrays[i])
            elif not is_array(arrays[i]):
                arrays[i] = array_from(arrays[i], home, self.name)
        found = [arrays[i].dtype for i in places if is_array(arrays[i])]
        if not found:
            return arrays, arrays, False
        common = functools.reduce(dtypes.promote, found)
        if not dtypes.is_float(common):
            if not any(type(arrays[i]) is float for i in places):
                return arrays, arrays, True
            common = dtypes.float32
        given, casting = list(arrays), mode.get().casting
        if casting is not None:
            common = casting.dtype_for(self, common)
        for i in places:
            if casting is not None:
                arrays[i] = casting.cast(arrays[i], common, parents[i])
            arrays[i] = _cast(arrays[i], common)
        return given, arrays, False

    def _device(self, arrays):
        """The one device of all arrays, or None without any. Raises: DeviceError for two."""
        homes = {}
        for i, array in enumerate(arrays):
            if type(array) in array_types or is_array(array):
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
        """The same failure in our words: which op, which rule, every operand, what would be right.

        What is no mistake that we know, such as one inside a user's op, keeps its own words.
        """
        self._device(arrays)  # raises where arrays of two libraries are the real cause
        operands = ", ".join(
            f"{self._name_of(i)} is {_shown(value)}" for i, value in enumerate(arrays)
        )
        places = range(len(arrays)) if self.variadic else sorted(self.differentiable)
        kinds = {arrays[i].dtype.kind for i in places if is_array(arrays[i])}
        missing = [self._name_of(i) for i in places if arrays[i] is None]
        missing = [name for name in missing if self.defaults.get(name, 0) is not None]
        if missing:
            return DTypeError(
                f"{self.name}: {missing[0]} is no tensor: {operands}; give a tensor or a number"
            )
        if "broadcast" in str(error):
            return ShapeError(
                f"{self.name}: shapes do not broadcast: {operands}; "
                "counted from the last axis, sizes must be equal or 1"
            )
        if isinstance(error, TypeError) and kinds == {"b"}:
            return DTypeError(
                f"{self.name}: not defined for booleans: {operands}; cast with astype(ta.int64)"
            )
        if isinstance(error, OverflowError):
            return DTypeError(
                f"{self.name}: a number is beyond what the dtype can hold: {operands}; cast with "
                "astype, or give a float"
            )
        if isinstance(error, AttributeError):
            return error
        kind = DTypeError if isinstance(error, TypeError) else ShapeError
        if isinstance(error, IndexError):
            kind = IndexRangeError
        return kind(f"{self.name}: {error} ({operands})")


def _shown(value):
    """An argument as an error shows it: an array by its shape and dtype."""
    return f"{tuple(value.shape)} {value.dtype}" if is_array(value) else f"{value!r:.60}"


def _cast(value, dtype):
    """An array in ``dtype``, itself if it already is; a number as it does not widen such arrays."""
    if is_array(value):
        return value if value.dtype == dtype else value.astype(dtype)
    return dtypes.beside(value, dtype)


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
