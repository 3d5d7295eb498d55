"""A stand-in for CuPy that computes with NumPy and refuses what CuPy would refuse.

It tests code for a GPU where there is none. Its arrays hold a NumPy array but are none, so that a
NumPy function which has leaked into an op fails on them, as it would on the memory of a GPU. Beyond
that, this module does as CuPy does where the two libraries differ:

- Nothing is converted implicitly: a NumPy array is no operand, nor is a list.
- What CuPy lacks, functions, keywords, methods, dtypes of a ufunc, is missing here. What it has
  stands in ``cupy_api.json``, written down from the real library by ``make_cupy_api.py``.
- Reductions and single elements are 0-d arrays. To look at a value means to wait for the GPU, and
  ``synchronizations`` counts how often that happened.
- An array of indices wraps round when out of range, writes to one place race, and ``empty`` holds
  rubbish.
- There are two devices, and only the one in use computes with its arrays.
- ``launches`` counts what a GPU would be given to do: each kernel, product, copy and filling. Views
  and ``empty`` are free.

The functions are made when they are first asked for, by ``__getattr__`` below.
"""

import ctypes
import inspect
import json
import operator
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from weakref import WeakValueDictionary

import numpy as np

from tinygrad_attn.backend import dtypes
from tinygrad_attn.backend.cpu.erf import erf as _erf
from tinygrad_attn.backend.cpu.erf import erfc as _erfc

from .on_host import RawKernel as RawKernel
from .on_host import RawModule as RawModule

_API = json.loads(Path(__file__).with_name("cupy_api.json").read_text(encoding="utf-8"))
_random = np.random.default_rng(0)

synchronizations = 0
"""How often the program has waited for the GPU so far."""


launches = Counter()
"""What the GPU has been given to do so far, by the name of the function that gave it."""


def _wait():
    global synchronizations
    synchronizations += 1


def count_launch(name):
    """Note one more launch; what stands in for a kernel of ours calls this too."""
    launches[name] += 1


# ---- arrays --------------------------------------------------------------------------------------


class ndarray:
    """An array on the "GPU". ``base`` is the array into whose memory it looks, or None."""

    __slots__ = ("_host", "_number", "base", "__weakref__")

    __hash__ = None
    __array_ufunc__ = None

    def __init__(self, host, number, base=None):
        self._host, self._number, self.base = host, number, base

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: cuda.Device(self._number))
    data = property(lambda self: SimpleNamespace(ptr=_address(self._host)))
    T = property(lambda self: _to_device(_to_host(self).T))
    mT = property(lambda self: _to_device(_to_host(self).mT))

    @property
    def flags(self):
        flags = self._host.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous)

    def __getattr__(self, name):
        if name not in _API["methods"]:
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")
        compute = _OURS.get(name, getattr(np.ndarray, name))
        return _function(name, ["self", *_API["methods"][name]], compute, self)

    def __array__(self, *args, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_function__(self, function, *args):
        raise TypeError(f"numpy.{function.__name__} was given a cupy array")

    def get(self):
        _wait()
        return self._host.copy()

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __repr__(self):
        return f"fake {self.get()!r}"

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __getitem__(self, index):
        return _launched("getitem", _to_host(self)[_wrapped(index, self.shape)])

    def __setitem__(self, index, value):
        if not isinstance(value, ndarray) and not np.isscalar(value):
            raise ValueError(f"a {type(value).__name__} cannot be assigned to a cupy array")
        host, index, value = _to_host(self), _wrapped(index, self.shape), _to_host(value)
        while np.ndim(value) and len(value) == 1:
            value = value[0]
        count_launch("setitem")
        if np.may_share_memory(host[index], host):  # slices, which name no place twice
            host[index] = value
        else:
            _race(host, index, value, operator.setitem)


def _to_host(value):
    """What NumPy is to compute with: device arrays are opened, and arrays of the host refused."""
    if isinstance(value, ndarray):
        if value._number != cuda.runtime.getDevice():
            raise ValueError(f"the array is on device {value._number}, which is not in use")
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if type(value) in (tuple, list):
        return type(value)(map(_to_host, value))
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        return slice(*(end if end is None else operator.index(end) for end in ends))
    return value


_owners = WeakValueDictionary()  # id of a host array -> the device array that holds it


def _to_device(value):
    """Device arrays for what NumPy returned: arrays, single numbers, and tuples of these."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(_to_device, value))
    value = np.asarray(value)
    root = value
    while isinstance(root.base, np.ndarray):
        root = root.base
    owner = _owners.get(id(root))
    if owner is None:
        _allocator[0](root.nbytes)
        owner = _owners[id(root)] = ndarray(root, cuda.runtime.getDevice())
    return owner if root is value else ndarray(value, owner._number, owner)


def _launched(name, value):
    """Device arrays for what NumPy returned; a launch, unless it is only a view."""
    before = len(_owners)
    result = _to_device(value)
    if len(_owners) > before:
        count_launch(name)
    return result


def _address(host):
    return host.__array_interface__["data"][0]


def memory_at(address, size):
    """``size`` bytes of the device in use from ``address`` on, to be read and written."""
    for owner in list(_owners.values()):
        start = _address(owner._host)
        if start <= address < start + max(owner.nbytes, 1):
            if address + size > start + owner.nbytes:
                raise IndexError(f"{size} bytes from {address} on lead out of the array there")
            _to_host(owner)  # refuses what is on another device
            return np.frombuffer((ctypes.c_ubyte * size).from_address(address), np.uint8)
    raise IndexError(f"there is no array at {address}")


def _wrapped(index, shape):
    """The index for NumPy: integer arrays wrapped round their axes, the result always an array."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)  # makes of a single element a 0-d view
    spans = [0 if p is None or p is Ellipsis else p.ndim if _is_mask(p) else 1 for p in parts]
    axis = 0
    for i, part in enumerate(parts):
        if part is Ellipsis:
            axis += len(shape) - sum(spans)
        elif _is_mask(part):
            _wait()  # until it is known how many places the mask names
        elif isinstance(part, ndarray) and part.dtype.kind in "iu" and axis < len(shape):
            parts[i] = _to_device(part._host % max(shape[axis], 1))
        axis += spans[i]
    return tuple(map(_to_host, parts))


def _is_mask(part):
    return isinstance(part, ndarray) and part.dtype == bool


def _race(host, index, values, write):
    """``write(host, index, values)``, one element after the other in random order."""
    places = np.arange(host.size).reshape(host.shape)[index]
    order = _random.permutation(places.size)
    values = np.broadcast_to(np.asarray(values, host.dtype), places.shape).ravel()
    flat = host.reshape(-1)  # a copy where the elements do not lie side by side
    write(flat, places.ravel()[order], values[order])
    host[...] = flat.reshape(host.shape)


# ---- functions -----------------------------------------------------------------------------------

_FROM_NOTHING = set(  # functions that need no array
    "arange can_cast eye full identity indices isscalar linspace min_scalar_type ndim ones "
    "result_type shape tri tril_indices triu_indices zeros".split()
)
_WAITING = set(  # functions whose result has a size that depends on values
    "argwhere bincount compress extract flatnonzero nonzero unique".split()
)
_ON_THE_HOST = set(  # functions whose result is no array
    "can_cast isscalar min_scalar_type ndim result_type shape size".split()
)
_OURS = {  # functions that treat an index out of range otherwise than NumPy
    "take": lambda a, indices, axis=None, out=None: np.take(a, indices, axis, out, mode="wrap"),
    "take_along_axis": lambda a, indices, axis: np.take_along_axis(
        a, indices % a.shape[axis], axis
    ),
    "put_along_axis": lambda arr, indices, values, axis: np.put_along_axis(
        arr, indices % arr.shape[axis], values, axis
    ),
}


@cache
def __getattr__(name):
    if name in _API["constants"]:
        return getattr(np, name)
    if name in _API["ufuncs"]:
        return _Ufunc(name)
    if name in _API["functions"]:
        return _function(name, _API["functions"][name], _OURS.get(name, getattr(np, name)))
    raise AttributeError(f"module 'cupy' has no attribute {name!r}")


def _function(name, parameters, compute, *bound):
    """``compute`` of NumPy, behind CuPy's signature."""
    signature = _signature(parameters)

    def call(*args, **options):
        given = signature.bind(*bound, *args, **options).arguments
        if name not in _FROM_NOTHING and not _holds_array(given):
            raise TypeError(f"{name}: there is no cupy array among the arguments")
        _check_limits(name, given)
        if name in _WAITING:
            _wait()
        result = _compute(compute, [*bound, *args], options)
        if name in _ON_THE_HOST:
            return result
        if result is None or options.get("out") is not None:  # it wrote into an argument
            count_launch(name)
            return options.get("out")
        return _launched(name, result)

    return call


@np.errstate(all="ignore")  # a GPU gives no floating-point warnings
def _compute(function, args, options):
    return function(*map(_to_host, args), **{key: _to_host(x) for key, x in options.items()})


def _signature(texts):
    """The Signature that ["a", "axis=", "*rest"] stands for."""
    parameters, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for text in texts:
        name = text.strip("*=")
        if text.startswith("**"):
            parameters.append(inspect.Parameter(name, inspect.Parameter.VAR_KEYWORD))
        elif text.startswith("*"):
            parameters.append(inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL))
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            default = None if text.endswith("=") else inspect.Parameter.empty
            parameters.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(parameters)


def _holds_array(value):
    """Whether there is a device array in ``value``, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(map(_holds_array, value))
    return isinstance(value, ndarray)


def _check_limits(name, given):
    """Refuse arguments that NumPy takes and CuPy does not, though it knows their names."""
    if name == "repeat" and isinstance(given["repeats"], ndarray):
        raise ValueError("cupy.ndarray cannot be specified as `repeats` argument")
    if name in ("sort", "argsort") and given.get("kind") not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    if name == "where" and not isinstance(given["condition"], ndarray):
        raise AttributeError(f"{type(given['condition'])} has no attribute 'astype'")


class _Ufunc:
    """A ufunc that has CuPy's dtypes, and neither ``where=`` nor most of the methods of NumPy's."""

    def __init__(self, name):
        self.name, self._numpys = name, getattr(np, name)
        self._loops = _API["ufuncs"][name].split()

    def __call__(self, *args, **options):
        for arg in args:
            if not isinstance(arg, ndarray) and not np.isscalar(arg):
                raise TypeError(f"Unsupported type {type(arg)}: {self.name} takes cupy arrays")
        if not options.keys() <= {"out", "dtype", "casting"}:
            raise TypeError(f"Wrong arguments {options}")
        if "dtype" not in options and isinstance(self._numpys, np.ufunc):
            self._check_dtypes(args[: self._numpys.nin])
        count_launch(self.name)
        return _to_device(_compute(self._numpys, args, options))

    def _check_dtypes(self, args):
        """Refuse dtypes of which the two libraries make different ones.

        The table leaves out bfloat16, which is there only beside ml_dtypes: CuPy has it wherever it
        has float16.
        """
        is_weak = [type(x) in (int, float) for x in args]
        given = [type(x) if w else np.asarray(_to_host(x)).dtype for x, w in zip(args, is_weak)]
        found = self._numpys.resolve_dtypes((*given, *[None] * self._numpys.nout))
        found = [np.dtype("e") if kind == dtypes.bfloat16 else kind for kind in found]
        takes, gives = found[: len(args)], found[len(args) :]
        for loop in self._loops:
            theirs = loop.split("->")
            if all(map(np.can_cast, takes, theirs[0])):
                if [np.dtype(letter) for letter in theirs[1]] != list(gives):
                    break
                return
        raise TypeError(f"{self.name} of {takes} is {gives} in numpy, but not in cupy")

    def at(self, a, indices, b):
        allowed = "add subtract maximum minimum bitwise_and bitwise_or bitwise_xor".split()
        if self.name not in allowed:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        if self.name == "add" and a.dtype.char not in "ilILqQefd":
            raise TypeError(f"add.at does not support {a.dtype}")
        count_launch(f"{self.name}.at")
        _race(_to_host(a), _wrapped(indices, a.shape), _to_host(b), self._numpys.at)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"`cupy_{self.name}.reduce` is not supported yet")
        method = array.sum if self.name == "add" else array.prod
        return method(axis, dtype, out, keepdims)


# ---- operators -----------------------------------------------------------------------------------

_OPERATORS = (
    "add=add sub=subtract mul=multiply truediv=divide floordiv=floor_divide mod=remainder "
    "pow=power matmul=matmul and=bitwise_and or=bitwise_or xor=bitwise_xor lshift=left_shift "
    "rshift=right_shift eq=equal ne=not_equal lt=less le=less_equal gt=greater ge=greater_equal "
    "neg=negative pos=positive invert=invert abs=absolute"
)


def _operator(compute):
    def method(self, *others):
        for other in others:
            if not isinstance(other, ndarray) and getattr(other, "__array_ufunc__", 0) is None:
                return NotImplemented  # a Tensor: its own operator is to do it
        return compute(self, *others)

    return method


def _give_operators(name, function):
    setattr(ndarray, f"__{name}__", _operator(function))
    setattr(ndarray, f"__r{name}__", _operator(lambda x, other: function(other, x)))
    setattr(ndarray, f"__i{name}__", _operator(lambda x, other: function(x, other, out=x)))


for _pair in _OPERATORS.split():
    _give_operators(_pair.partition("=")[0], __getattr__(_pair.partition("=")[2]))


# ---- making arrays, and bringing them back -------------------------------------------------------


def array(obj, dtype=None, copy=True):
    """A copy on the device in use. To this function NumPy arrays and lists are welcome."""
    return _launched("array", np.array(obj._host if isinstance(obj, ndarray) else obj, dtype))


def asarray(a, dtype=None):
    return a if isinstance(a, ndarray) and dtype in (None, a.dtype) else array(a, dtype)


def asnumpy(a):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def empty(shape, dtype=float):
    """What happened to be in the memory: NaN, and for whole numbers the largest there is."""
    host = np.empty(shape, dtype)
    host.fill(np.iinfo(host.dtype).max if host.dtype.kind in "iu" else np.nan)
    return _to_device(host)


def empty_like(prototype, dtype=None):
    return empty(prototype.shape, dtype or prototype.dtype)


def _special(compute):
    def call(x):
        host = _to_host(x)
        return _launched("erf", compute(host.astype(float) if host.dtype == np.float16 else host))

    return call


special = SimpleNamespace(erf=_special(_erf), erfc=_special(_erfc))


# ---- devices -------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """There is less memory than was asked for."""


MEMORY = 2**30
"""How much each device has, in bytes. A test may set it lower."""


def _held():
    """How many bytes are in use on the device in use."""
    here = cuda.runtime.getDevice()
    return sum(owner.nbytes for owner in list(_owners.values()) if owner._number == here)


def _allocate(size):
    """Where CuPy would find memory; NumPy has found some already, so this only looks whether."""
    if MEMORY < 2**30 and size + _held() > MEMORY:
        raise OutOfMemoryError(f"Out of memory allocating {size} bytes")


_allocator = [_allocate]


class _Device:
    """One of two devices; ``with Device(1):`` makes it the one in use."""

    in_use = [0]

    def __init__(self, device=None):
        self.id = self.in_use[-1] if device is None else device

    def __enter__(self):
        self.in_use.append(self.id)
        return self

    def __exit__(self, *error):
        self.in_use.pop()

    compute_capability = "90"
    attributes = {"MaxSharedMemoryPerBlockOptin": 227 * 1024}

    def synchronize(self):
        _wait()

    @property
    def mem_info(self):
        return MEMORY - _held(), MEMORY


cuda = SimpleNamespace(
    Device=_Device,
    device=SimpleNamespace(get_cublas_handle=lambda: 1),
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    get_current_stream=lambda: SimpleNamespace(ptr=0),
    get_allocator=lambda: _allocator[0],
    set_allocator=lambda allocator: _allocator.__setitem__(0, allocator),
    runtime=SimpleNamespace(
        getDevice=lambda: _Device.in_use[-1],
        getDeviceCount=lambda: 2,
        CUDARuntimeError=RuntimeError,
        CUDA_R_32F=0,
        CUDA_R_64F=1,
        CUDA_R_16F=2,
        CUDA_R_16BF=14,
    ),
)
