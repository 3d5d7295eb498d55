"""Tensor: an array, and the node of the tape that made it. It has no arithmetic of its own.

A tensor is a value with a memory of where it came from: ``data`` is the raw array of a backend,
``node`` the place in the graph to which gradients of this value are sent, or None where nobody
wants any. Its operators and methods are ordinary ops; ``ops/methods.py`` gives them to the class,
in one visible table.
"""

from ..backend import backend_of, dtypes, get_backend, is_array, namespace, on_device_of
from ..errors import DeviceError, DTypeError, GraphError, ShapeError
from .graph import leaf, mark_written

__all__ = ["Tensor"]


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    Made by ``ta.tensor``, the other creation functions, and every op; not by calling this class,
    which wraps a raw array as it is.

    Example:
        >>> import tinygrad_attn as ta
        >>> x = ta.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    __slots__ = ("data", "node", "__weakref__")

    __array_ufunc__ = None  # NumPy's and CuPy's operators leave ``array * tensor`` to us

    def __init__(self, data, node=None):
        self.data = data
        self.node = node

    # ---- what it is ------------------------------------------------------------------------------

    @property
    def shape(self):
        """The size along each axis."""
        return self.data.shape

    @property
    def ndim(self):
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self):
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self):
        """The type of the elements."""
        return self.data.dtype

    @property
    def device(self):
        """Where the elements live: "cpu", "cuda:0". Asked of the array, stored nowhere else."""
        return backend_of(self.data).device_of(self.data)

    @property
    def itemsize(self):
        """Bytes for each element."""
        return self.data.dtype.itemsize

    @property
    def nbytes(self):
        """Bytes in all."""
        return self.data.nbytes

    # ---- gradients -------------------------------------------------------------------------------

    @property
    def requires_grad(self):
        """Whether gradients flow to this tensor. Set it on leaves; results inherit it."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted):
        self.requires_grad_(wanted)

    def requires_grad_(self, wanted=True):
        """Ask for the gradient with respect to this tensor, or stop asking; returns the tensor.

        Raises: DTypeError for integers and booleans; GraphError when a computed tensor is told to
            stop.
        """
        if wanted and self.node is None:
            if not dtypes.is_float(self.dtype):
                raise DTypeError(
                    "requires_grad: a gradient needs real numbers, but this tensor is "
                    f"{self.dtype}; use astype(ta.float32) first"
                )
            self.node = leaf(self.shape, self.dtype)
        elif not wanted and self.node is not None:
            if not self.is_leaf:
                raise GraphError(
                    f"requires_grad: this tensor was computed by {self.node.op.name}; "
                    "only a leaf can stop asking for its gradient: use detach()"
                )
            self.node = None
        return self

    @property
    def is_leaf(self):
        """Whether this tensor was made by the user, not computed from one with a gradient."""
        return self.node is None or self.node.op is None

    @property
    def grad(self):
        """∂L/∂(this tensor), summed over the calls of ``backward()`` so far, or None."""
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, value):
        if value is not None:
            if self.node is None:
                raise GraphError(
                    "grad: this tensor does not require a gradient; call requires_grad_()"
                )
            check_gradient("grad", value, self)
        if self.node is not None:
            self.node.grad = value

    @grad.deleter
    def grad(self):
        self.grad = None

    def detach(self):
        """The same values, cut off from the graph. Shares memory."""
        return Tensor(self.data)

    def retain_grad(self):
        """Keep ``.grad`` on this computed tensor too, as leaves do; returns the tensor."""
        node = _with_node("retain_grad", self)
        if not self.is_leaf and deposit not in (node.hooks or ()):
            node.hooks = [*(node.hooks or ()), deposit]
        return self

    def register_hook(self, hook):
        """Call ``hook(gradient)`` when this tensor's gradient is complete, in each backward.

        ``hook`` gets the gradient as a Tensor; what it returns, unless None, takes its place.
        Returns: a function that removes the hook.
        Raises: GraphError where no gradient flows to this tensor.

        Example:
            >>> import tinygrad_attn as ta
            >>> x = ta.tensor([3.0], requires_grad=True)
            >>> remove = x.register_hook(lambda g: 10 * g)
            >>> (2 * x).sum().backward()
            >>> x.grad
            tensor([20.])
        """
        node = _with_node("register_hook", self)
        if not callable(hook):
            raise TypeError(f"register_hook: hook is {type(hook).__name__}; give a function")

        def show(node, gradient):
            seen = as_gradient(gradient).copy()  # to keep, or to write in; others hold the original
            answer = hook(seen)
            if answer is None:
                return gradient
            check_gradient("register_hook", answer, seen)
            return answer if isinstance(gradient, Tensor) else answer.data

        def remove():
            node.hooks = [kept for kept in node.hooks or () if kept is not show] or None

        node.hooks = [*(node.hooks or ()), show]
        return remove

    # ---- in and out ------------------------------------------------------------------------------

    def numpy(self):
        """The values as a NumPy array: on the CPU a read-only view, from elsewhere a copy.

        Read-only because tensors are values: a write from outside would change what the graph has
        saved without its noticing. ``x.numpy().copy()`` is yours to write into.
        """
        host = backend_of(self.data).to_host(self.data).view()
        host.flags.writeable = False
        return host

    def __array__(self, dtype=None, copy=None):
        host = self.numpy()
        if dtype is not None and dtype != host.dtype:
            if copy is False:
                raise ShapeError(f"__array__: {host.dtype} cannot become {dtype} without a copy")
            return host.astype(dtype)
        return host.copy() if copy else host

    def item(self):
        """The one element as a Python number. Raises: ShapeError unless there is exactly one."""
        if self.size != 1:
            raise ShapeError(
                f"item: needs exactly one element, but the shape is {self.shape}; "
                "reduce it first, or use tolist()"
            )
        return backend_of(self.data).to_host(self.data).item()

    def tolist(self):
        """The elements as nested Python lists; a 0-d tensor as a number."""
        return backend_of(self.data).to_host(self.data).tolist()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        if self.size != 1:
            raise ShapeError(
                f"bool: the truth of a tensor of shape {self.shape} is ambiguous; "
                "use .any() or .all()"
            )
        return bool(self.item())

    def __index__(self):
        if self.size != 1 or self.dtype.kind not in "iu":
            raise DTypeError(
                f"index: only a whole number can be an index, not a {self.dtype} tensor "
                f"of shape {self.shape}"
            )
        return int(self.item())

    def __format__(self, spec):
        return format(self.item() if spec and not self.ndim else str(self), spec)

    def __len__(self):
        if not self.ndim:
            raise ShapeError("len: a 0-d tensor has no length, its shape is (); use .size")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise ShapeError(
                "iter: a 0-d tensor has no axis to run along, its shape is (); use .item()"
            )
        return (self[i] for i in range(len(self)))

    def __dlpack__(self, **options):
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    def __copy__(self):
        return Tensor(self.data, self.node)

    def __deepcopy__(self, memo):
        if not self.is_leaf:
            raise GraphError(
                f"deepcopy: this tensor was computed by {self.node.op.name} and its graph cannot "
                "be copied; use detach() first"
            )
        twin = type(self)._restore(self.data.copy(), self.requires_grad)
        if self.grad is not None:
            twin.grad = Tensor(self.grad.data.copy())
        memo[id(self)] = twin
        return twin

    def __reduce__(self):
        if not self.is_leaf:
            raise GraphError(
                f"pickle: this tensor was computed by {self.node.op.name} and its graph cannot be "
                "saved; use detach() first"
            )
        return _unpickle, (type(self), self.numpy().copy(), self.device, self.requires_grad)

    @classmethod
    def _restore(cls, data, requires_grad):
        """A leaf of this class around ``data``, whatever the arguments of its constructor are."""
        restored = cls.__new__(cls)
        Tensor.__init__(restored, data, leaf(data.shape, data.dtype) if requires_grad else None)
        return restored

    def __repr__(self):
        text = namespace(self.numpy()).array2string(self.numpy(), separator=", ", prefix="tensor(")
        notes = []
        if self.dtype not in (dtypes.float32, dtypes.int64, dtypes.bool_) or not self.size:
            notes.append(f"dtype={self.dtype}")
        if not self.size and self.ndim != 1:
            notes.append(f"shape={self.shape}")
        if self.device != "cpu":
            notes.append(f'device="{self.device}"')
        if self.requires_grad:
            notes.append("requires_grad=True" if self.is_leaf else f"from={self.node.op.name}")
        return f"tensor({', '.join([text, *notes])})"


def _unpickle(cls, host, device, requires_grad):
    return cls._restore(get_backend(device).from_host(host, device), requires_grad)


def as_gradient(part):
    """What a rule returned, a Tensor, an array or a bare scalar of NumPy's, as a Tensor."""
    if isinstance(part, Tensor):
        return part
    return Tensor(part if is_array(part) else backend_of(part).asarray(part))


def deposit(node, gradient):
    """Add ``gradient`` to the node's ``.grad``, not in place: somebody may hold the old sum."""
    arrived = as_gradient(gradient)
    node.grad = arrived.copy() if node.grad is None else node.grad + arrived
    return gradient


def _with_node(where, tensor):
    if tensor.node is None:
        raise GraphError(
            f"{where}: no gradient flows to this tensor; call requires_grad_() on it first"
        )
    return tensor.node


def check_gradient(where, gradient, tensor):
    """Hold a gradient that a user hands in to the shape, dtype and device of its tensor."""
    if not isinstance(gradient, Tensor):
        raise DTypeError(f"{where}: a gradient is a Tensor, not {type(gradient).__name__}")
    if gradient.shape != tensor.shape:
        raise ShapeError(
            f"{where}: the gradient is {gradient.shape} but its tensor is {tensor.shape}; "
            "the shapes must be equal"
        )
    if gradient.dtype != tensor.dtype:
        raise DTypeError(
            f"{where}: the gradient is {gradient.dtype} but its tensor is {tensor.dtype}; "
            f"use astype({tensor.dtype})"
        )
    if gradient.device != tensor.device:
        raise DeviceError(
            f'{where}: the gradient is on "{gradient.device}", its tensor on "{tensor.device}"; '
            f'use .to("{tensor.device}")'
        )


def write(tensor, array):
    """Replace the values of ``tensor`` in place, and note it; for optimizers and initializers."""
    with on_device_of(tensor.data):
        backend_of(tensor.data).index_put(tensor.data, ..., array)
    mark_written(tensor.data)
