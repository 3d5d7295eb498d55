"""What a module is made of, taken out and put back: snapshots, loading, moving.

A state dict maps paths to tensors: "blocks.0.attn.out_proj.weight". The paths are those of
PyTorch's layers of the same name, so that weights can be carried between the two.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..backend import array_from, dtypes, get_backend, is_array
from ..core import Tensor
from ..core.graph import leaf
from ..core.tensor import write
from ..errors import CheckpointError, DTypeError, TinygradAttnError
from .parameter import Parameter

__all__ = [
    "LoadReport",
    "is_buffer",
    "is_parameter",
    "join",
    "load_state_dict",
    "move",
    "named_tensors",
    "state_dict",
]


class LoadReport(NamedTuple):
    """What ``load_state_dict(strict=False)`` passed over."""

    missing_keys: list
    unexpected_keys: list


def join(path, name):
    """The path of an attribute: "encoder" and "weight" make "encoder.weight"."""
    return f"{path}.{name}" if path else name


def named_tensors(module, belongs, remove_duplicate=True):
    """(path, tensor) for the attributes, here and inside, that ``belongs`` picks."""
    seen = set()
    for path, part in module.named_modules(remove_duplicate):
        for name, value in list(vars(part).items()):
            if belongs(part, name, value) and not (remove_duplicate and id(value) in seen):
                seen.add(id(value))
                yield join(path, name), value


def is_parameter(part, name, value):
    """Whether an attribute of a module is one of its parameters."""
    return isinstance(value, Parameter)


def is_buffer(part, name, value):
    """Whether it is a buffer."""
    return name in part._buffers and value is not None


def is_saved(part, name, value):
    """Whether it is a parameter or a persistent buffer."""
    return is_parameter(part, name, value) or (is_buffer(part, name, value) and part._buffers[name])


def state_dict(module):
    """A snapshot {path: tensor} of all parameters and persistent buffers.

    The tensors are copies: training on does not change a snapshot taken before. A parameter that is
    used in two places stands under both paths, as one and the same tensor.
    """
    tensors = dict(named_tensors(module, is_saved, remove_duplicate=False))
    copies = {id(tensor): Tensor(tensor.data.copy()) for tensor in tensors.values()}
    return {path: copies[id(tensor)] for path, tensor in tensors.items()}


def load_state_dict(module, values, strict=True):
    """Copy ``values``, {path: Tensor or array}, into the parameters and buffers of a module.

    Everything is checked before anything is written. A value is converted to the dtype and the
    device of its parameter. Under ``strict`` every path must be there and no other; a shared
    parameter needs to be there under one of its paths only.

    Returns: a LoadReport of missing and unexpected paths, both empty under ``strict``.
    Raises: CheckpointError with one report of all that is missing, unexpected, of another shape or
    type, or in contradiction. Without ``strict`` the first two are allowed.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(
            f"load_state_dict: values is a {type(values).__name__}; give a dict {{path: array}}"
        )
    targets = dict(named_tensors(module, is_saved, remove_duplicate=False))
    given = {path: value for path, value in values.items() if path in targets}
    filled = {id(targets[path]) for path in given}
    missing = [path for path, target in targets.items() if id(target) not in filled]
    unexpected = [path for path in values if path not in targets]
    arrays, misfits = {}, []
    for path, value in given.items():
        try:
            arrays[path] = _fitting_array(value, targets[path])
        except TinygradAttnError as error:
            misfits.append(f"{path} {error}")
    contradictions = _contradictions(arrays, targets)
    report = {
        "missing": missing if strict else [],
        "unexpected": unexpected if strict else [],
        "of another shape or type": misfits,
        "one parameter, two values": contradictions,
    }
    if any(report.values()):
        raise CheckpointError(_report_text(type(module).__name__, report))
    for path, array in arrays.items():
        write(targets[path], array)
    return LoadReport(missing, unexpected)


def _fitting_array(value, target):
    """``value`` as an array that fits ``target``, or an error that ends a sentence."""
    if isinstance(value, Tensor):
        array = value.data if value.device == target.device else value.to(target.device).data
    elif is_array(value) or hasattr(value, "__array__"):
        array = array_from(value, target.device, "is")
    else:
        raise DTypeError(f"is a {type(value).__name__}, not a tensor or an array")
    if tuple(array.shape) != tuple(target.shape):
        raise CheckpointError(f"is {tuple(array.shape)}, the model has {tuple(target.shape)}")
    if dtypes.is_float(array.dtype) != dtypes.is_float(target.dtype):
        raise CheckpointError(f"is {array.dtype}, the model has {target.dtype}")
    return array


def _contradictions(arrays, targets):
    """Paths that lead to the same parameter but come with different values."""
    first, found = {}, []
    for path, array in arrays.items():
        other = first.setdefault(id(targets[path]), path)
        if other != path and not bool(((array == arrays[other]) | (array != array)).all()):
            found.append(f"{other} and {path}")
    return found


def _report_text(name, report, longest=12):
    """The report of a failed load: one line for each kind of fault, long lists cut short."""
    lines = [f"load_state_dict: these weights do not fit {name}; nothing was loaded"]
    for kind, paths in report.items():
        if paths:
            more = f", and {len(paths) - longest} more" if len(paths) > longest else ""
            lines.append(f"  {len(paths)} {kind}: {', '.join(paths[:longest])}{more}")
    lines.append("  give the weights of the same architecture")
    if report["missing"] or report["unexpected"]:
        lines[-1] += ", or pass strict=False to pass over missing and unexpected ones"
    return "\n".join(lines)


def move(module, targets):
    """Move all tensors of a module to a device, a float dtype, or both; ``Module.to`` says more."""
    device, dtype = _device_and_dtype(targets)

    def convert(tensor):
        return tensor.detach().to(
            device=device, dtype=dtype if dtypes.is_float(tensor.dtype) else None
        )

    for parameter in module.parameters():
        gradient = parameter.grad
        parameter.data = convert(parameter).data
        if parameter.requires_grad:  # a fresh leaf: graphs recorded before keep their own
            parameter.node = leaf(parameter.shape, parameter.dtype)
            parameter.grad = None if gradient is None else convert(gradient)
    for part in module.modules():
        for name, value in vars(part).items():
            if is_buffer(part, name, value):
                setattr(part, name, convert(value))


def _device_and_dtype(targets):
    """Which of the arguments of ``to`` is a device, and which a dtype."""
    device = dtype = None
    for target in targets:
        try:
            dtype = dtypes.dtype(target)
        except DTypeError:
            if not isinstance(target, str):
                raise
            get_backend(target)
            device = target
    if dtype is not None and not dtypes.is_float(dtype):
        raise DTypeError(f"Module.to: the parameters must stay floats; {dtype} is none")
    return device, dtype
