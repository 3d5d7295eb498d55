"""Raw arguments of which some may be plain numbers: what the forward of an op asks about them."""

from ..backend import dtypes, is_array, namespace

__all__ = ["all_whole", "operands", "shared_namespace"]


def shared_namespace(*arguments):
    """The library of the first array among them."""
    return namespace(next(filter(is_array, arguments), None))


def all_whole(*arguments):
    """Whether none is a float, so that the library's rules stay among the integers."""
    return not any(dtypes.is_float(a.dtype) if is_array(a) else type(a) is float for a in arguments)


def operands(**arguments):
    """The arguments as errors name them: "x is (3,) int64, p is -1"."""
    return ", ".join(
        f"{name} is {tuple(value.shape)} {value.dtype}" if is_array(value) else f"{name} is {value}"
        for name, value in arguments.items()
    )
