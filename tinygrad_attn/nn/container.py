"""Modules that hold modules, and two that only pass values on."""

import math
from collections.abc import Iterable, Iterator, Mapping

from ..core import Tensor
from ..errors import DTypeError, IndexRangeError, ShapeError
from ..ops import reshape
from ..ops.check import as_tensor, normalize_axis, whole_number
from .module import Module

__all__ = ["Flatten", "Identity", "ModuleDict", "ModuleList", "Sequential"]


class _Ordered(Module):
    """Members in a row: counted, looped over, taken by number or by slice."""

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self.children()))

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._part(list(self.named_children())[index])
        return list(self)[self._place(index)]

    def _part(self, named):
        """A container of the same kind that shares just these members."""
        raise NotImplementedError

    def _place(self, index):
        whole_number(type(self).__name__, "index", index)
        if not -len(self) <= index < len(self):
            raise IndexRangeError(
                f"{type(self).__name__}: index {index} is outside {-len(self)}..{len(self) - 1}; "
                f"there are {len(self)} modules"
            )
        return index

    def _put(self, name, module):
        if not isinstance(module, Module):
            raise DTypeError(
                f"{type(self).__name__}: {name} is a {type(module).__name__}; it must be a module"
            )
        setattr(self, name, module)


class Sequential(_Ordered):
    """Modules one after the other: each gets what the one before gave.

    Takes the modules as arguments, or one dict {name: module} that names them.

    Example:
        >>> import tinygrad_attn as ta
        >>> from tinygrad_attn import nn
        >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> model(ta.ones((7, 3))).shape
        (7, 2)
        >>> len(model[:2])
        2
    """

    def __init__(self, *modules):
        is_named = len(modules) == 1 and isinstance(modules[0], Mapping)
        for name, module in modules[0].items() if is_named else enumerate(modules):
            self._put(str(name), module)

    def append(self, module: Module):
        """Add a module at the end; returns self."""
        self._put(str(len(self)), module)
        return self

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x

    def _part(self, named):
        return Sequential(dict(named))


class ModuleList(_Ordered):
    """A list of modules, whose parameters are found under "0", "1", ...

    A plain list would hide its modules from the optimizer. This one is changed, indexed and looped
    over as a list is; what to compute with its members is up to the module that has it.
    """

    def __init__(self, modules: Iterable[Module] = ()):
        self.extend(modules)

    def append(self, module: Module):
        """Add a module at the end; returns self."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]):
        """Add modules at the end; returns self."""
        if isinstance(modules, Module) or not isinstance(modules, Iterable):
            raise DTypeError(
                f"ModuleList: modules is a {type(modules).__name__}; it must be a list of modules"
            )
        for module in list(modules):
            self._put(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module):
        """Put a module before the one at ``index``; returns self."""
        members = list(self)
        members.insert(index, module)
        return self._refill(members)

    def __setitem__(self, index, module):
        self._put(str(self._place(index) % len(self)), module)

    def __delitem__(self, index):
        members = list(self)
        del members[index if isinstance(index, slice) else self._place(index)]
        self._refill(members)

    def _refill(self, members):
        """Hold just these members, numbered anew."""
        for name, _ in list(self.named_children()):
            delattr(self, name)
        return self.extend(members)

    def _part(self, named):
        return ModuleList(module for _, module in named)


class ModuleDict(Module):
    """A dict of modules, whose parameters are found under their names.

    What to compute with its members is up to the module that has it.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None):
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]):
        """Add or replace members; returns self."""
        for name, module in modules.items():
            self[name] = module
        return self

    def keys(self) -> list[str]:
        """The names."""
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        """The members."""
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        """(name, member) pairs."""
        return list(self.named_children())

    def __getitem__(self, name):
        return getattr(self, self._known(name))

    def __setitem__(self, name, module):
        if not isinstance(module, Module):
            raise DTypeError(
                f"ModuleDict: {name} is a {type(module).__name__}; it must be a module"
            )
        setattr(self, name, module)

    def __delitem__(self, name):
        delattr(self, self._known(name))

    def _known(self, name):
        if name not in self:
            there = ", ".join(self.keys()) or "none"
            raise KeyError(f"ModuleDict: there is no {name!r}; there are {there}")
        return name

    def __contains__(self, name) -> bool:
        return isinstance(vars(self).get(name), Module)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())


class Identity(Module):
    """What stands where nothing is to be done: passes on its first argument, ignores the rest."""

    def __init__(self, *args, **options):
        """Takes, and ignores, whatever the layer in whose place it stands would take."""

    def forward(self, x: Tensor, *args, **options) -> Tensor:
        return x


class Flatten(Module):
    """Axes ``start_dim`` to ``end_dim``, both included, joined into one.

    Shapes: x (B, a, b, c) → (B, a·b·c) as it stands.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x, where="Flatten")
        first = normalize_axis("Flatten", self.start_dim, x)
        last = normalize_axis("Flatten", self.end_dim, x)
        if first > last:
            raise ShapeError(
                f"Flatten: x is {x.shape}, start_dim is {self.start_dim}, end_dim is "
                f"{self.end_dim}; the start must not come after the end"
            )
        return reshape(
            x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])
        )

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
