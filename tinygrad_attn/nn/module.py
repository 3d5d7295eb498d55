"""Module: named parameters, and the modules inside, found in the plain attributes of an object.

A layer is an object with a ``forward``. Its parameters, and the layers that it is made of, are
simply its attributes; everything below finds them by looking there. So there is nothing to
register, nothing that must be called before the first assignment, and copying or pickling a module
needs no code.

    class Perceptron(nn.Module):
        def __init__(self, width):
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def forward(self, x):
            return self.down(ta.relu(self.up(x)))
"""

import reprlib
from collections.abc import Callable, Iterator
from types import MappingProxyType

from ..core import Tensor
from ..core.graph import PLAIN, mode
from ..core.scopes import scoped
from ..errors import DTypeError, GraphError
from . import describe, state
from .parameter import Parameter
from .state import join

__all__ = ["Module"]


class Module:
    """The base of all layers and models.

    Subclasses give ``forward``; calling the module calls it, and the hooks around it.

    Example:
        >>> from tinygrad_attn import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> model
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): Tanh()
          (2): Linear(in_features=8, out_features=1, bias=True)
        )
        >>> sum(p.size for p in model.parameters())
        49
    """

    training = True
    """Whether dropout and its like are on; ``train()`` and ``eval()`` switch it."""

    _buffers = MappingProxyType({})  # name -> whether it is saved
    _forward_hooks = ()
    _forward_pre_hooks = ()

    # ---- running ---------------------------------------------------------------------------------

    def forward(self, *args, **options):
        """What the module computes. Every subclass gives its own."""
        raise NotImplementedError(
            f"{type(self).__name__} has no forward(); define def forward(self, ...)"
        )

    def __call__(self, *args, **options):
        if mode.get() is PLAIN:
            return self._run(args, options)
        return self._run_seen(args, options)

    def _run(self, args, options):
        for (hook,) in self._forward_pre_hooks:
            answer = hook(self, args)
            if answer is not None:
                args = answer if isinstance(answer, tuple) else (answer,)
        result = self.forward(*args, **options)
        for (hook,) in self._forward_hooks:
            answer = hook(self, args, result)
            result = result if answer is None else answer
        return result

    _run_seen = scoped(_run)

    def register_forward_pre_hook(self, hook: Callable) -> Callable[[], None]:
        """Call ``hook(module, args)`` before each forward; what it returns replaces args.

        A hook that returns None only looks.

        Returns: a function that removes the hook.
        """
        return self._add_hook("_forward_pre_hooks", hook)

    def register_forward_hook(self, hook: Callable) -> Callable[[], None]:
        """Call ``hook(module, args, result)`` after each forward; what it returns replaces result.

        A hook that returns None only looks. ``args`` are the positional arguments.
        Returns: a function that removes the hook.

        Example: look at what a layer in the middle of a model gives.

            >>> import tinygrad_attn as ta
            >>> model = ta.nn.Sequential(ta.nn.Linear(2, 3), ta.nn.ReLU())
            >>> remove = model[0].register_forward_hook(lambda module, args, y: print(y.shape))
            >>> _ = model(ta.ones(5, 2))
            (5, 3)
            >>> remove()
        """
        return self._add_hook("_forward_hooks", hook)

    def _add_hook(self, kind, hook):
        entry = (hook,)  # a tuple of its own, so that the same function can be registered twice
        setattr(self, kind, (*getattr(self, kind), entry))

        def remove():
            setattr(self, kind, tuple(kept for kept in getattr(self, kind) if kept is not entry))

        return remove

    # ---- attributes ------------------------------------------------------------------------------

    def __setattr__(self, name, value):
        held = self.__dict__.get(name)
        if isinstance(value, (Parameter, Module)):
            self._check_name(name, type(value).__name__)
        elif isinstance(held, Parameter) and value is not None:
            raise DTypeError(
                f"{type(self).__name__}: {name} is a Parameter and would be lost under a "
                f"{type(value).__name__}; assign nn.Parameter(...), or None to remove it"
            )
        elif name in self._buffers and value is not None and not isinstance(value, Tensor):
            raise DTypeError(
                f"{type(self).__name__}: {name} is a buffer; assign a Tensor or None, "
                f"not {type(value).__name__}"
            )
        super().__setattr__(name, value)

    def _check_name(self, name, what):
        """A name must be one step of a path, and hide no method."""
        is_taken = hasattr(Module, name) or callable(getattr(type(self), name, None))
        if is_taken or not name or "." in name:
            rule = "it means something else here" if is_taken else "it must be a name without dots"
            raise GraphError(f"{type(self).__name__}: {name!r} cannot name a {what}; {rule}")

    def register_parameter(self, name: str, parameter: Parameter | None):
        """Give the module a parameter by a name that is only known at run time, or None."""
        if not (parameter is None or isinstance(parameter, Parameter)):
            raise DTypeError(
                f"{type(self).__name__}: {name} must be a Parameter or None, "
                f"not {type(parameter).__name__}; write nn.Parameter(...)"
            )
        setattr(self, name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True):
        """Keep a tensor that is no parameter with the module; it is saved too, if persistent."""
        if not (tensor is None or isinstance(tensor, Tensor)) or isinstance(tensor, Parameter):
            raise DTypeError(
                f"{type(self).__name__}: the buffer {name} must be a plain Tensor or None, "
                f"not {type(tensor).__name__}"
            )
        self._check_name(name, "buffer")
        setattr(self, name, tensor)
        self._buffers = {**self._buffers, name: persistent}

    # ---- walking ---------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) for the modules directly inside.

        Raises: DTypeError for modules or parameters in a plain list, where nobody would find them.
        """
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple, dict)) and not name.startswith("_"):
                self._check_plain(name, value)

    def _check_plain(self, name, values):
        """Raise DTypeError where a plain list or dict hides modules or parameters."""
        first = next(iter(values.values() if isinstance(values, dict) else values), None)
        if isinstance(first, (Module, Parameter)):
            raise DTypeError(
                f"{type(self).__name__}: {name} is a plain {type(values).__name__} of "
                f"{type(first).__name__}s, which would be neither trained nor saved; use "
                "nn.ModuleList or nn.ModuleDict, or hide it on purpose behind a name like _it"
            )

    def children(self) -> Iterator["Module"]:
        """The modules directly inside."""
        return (module for _, module in self.named_children())

    def named_modules(self, remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        """(path, module) for this module, whose path is "", and all inside it, parents first.

        A module that is used in two places is yielded once, under its first path, unless
        ``remove_duplicate=False``.
        Raises: GraphError where a module contains itself.
        """
        seen, stack = set(), [("", self, ())]
        while stack:
            path, module, above = stack.pop()
            if any(module is ancestor for ancestor in above):
                raise GraphError(
                    f"{type(self).__name__}: the module at {path!r} contains itself; to point "
                    "back to an outer module, keep it in a list behind a name like _outer"
                )
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            inside = [
                (join(path, name), child, (*above, module))
                for name, child in module.named_children()
            ]
            stack.extend(reversed(inside))

    def modules(self) -> Iterator["Module"]:
        """This module and all inside it, parents first, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) for all parameters here and inside; a shared one once, at its first."""
        return state.named_tensors(self, state.is_parameter, remove_duplicate)

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter, each once: what an optimizer wants."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(path, tensor) for every buffer here and inside."""
        return state.named_tensors(self, state.is_buffer, remove_duplicate)

    def buffers(self) -> Iterator[Tensor]:
        """Every buffer, each once."""
        return (tensor for _, tensor in self.named_buffers())

    def apply(self, function: Callable[["Module"], object]):
        """Call ``function`` with every module, the inner ones before the outer; returns self."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    # ---- changing all at once --------------------------------------------------------------------

    def train(self, mode: bool = True):
        """Switch dropout and its like on, here and inside; returns self."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self):
        """Switch dropout and its like off, here and inside; returns self."""
        return self.train(False)

    def requires_grad_(self, wanted: bool = True):
        """Train all parameters, or freeze them; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(wanted)
        return self

    def zero_grad(self):
        """Forget the gradients of all parameters: each ``.grad`` becomes None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, *targets):
        """Move everything to a device, turn its floats into a dtype, or both; returns self.

        ``model.to("cuda")``, ``model.to(ta.float64)``, ``model.to("cuda", ta.float16)``. The
        parameters stay the same objects, so that an optimizer made before goes on knowing them;
        whole numbers among the buffers keep their dtype.

        Raises: DeviceError, DTypeError for a device that is not there, a dtype that cannot be.
        """
        state.move(self, targets)
        return self

    def cpu(self):
        """Move everything to the CPU; returns self."""
        return self.to("cpu")

    def cuda(self):
        """Move everything to the GPU; returns self."""
        return self.to("cuda")

    # ---- saving and showing ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """A snapshot of all parameters and persistent buffers by path; see ``nn/state.py``."""
        return state.state_dict(self)

    def load_state_dict(self, values: dict, strict: bool = True):
        """Copy values into the parameters and buffers of these paths; see ``nn/state.py``."""
        return state.load_state_dict(self, values, strict)

    def summary(self, depth: int | None = None) -> str:
        """A table of the modules and their parameter counts, down to ``depth``: print it."""
        return describe.table(self, depth)

    def extra_repr(self) -> str:
        """What stands in the brackets of the module's own line in ``repr``."""
        return ""

    @reprlib.recursive_repr("...")
    def __repr__(self):
        return describe.tree(self)
