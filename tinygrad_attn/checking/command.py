"""``python -m tinygrad_attn gradcheck path.py:fn``: check a function of one's own."""

import importlib.util
import inspect
import sys
from pathlib import Path

from ..backend import array_from
from ..core import Tensor
from ..errors import DataError, ShapeError, TinygradAttnError
from .gradcheck import gradcheck
from .subject import host

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    """Declare what the command takes."""
    parser.add_argument(
        "function", metavar="PATH.py:NAME", help="a function of tensors, or a Module"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--shape",
        action="append",
        metavar="2,3",
        help='shape of an argument, once for each; "0d" for a single number (default: 2,3 for all)',
    )
    what.add_argument(
        "--inputs",
        metavar="NAME",
        help="the inputs, or a function that makes them, in the same file",
    )
    parser.add_argument(
        "--between", nargs=2, type=float, default=(0.5, 1.5), metavar=("LOW", "HIGH")
    )
    parser.add_argument(
        "--order", type=int, default=2, help="the highest order of derivative (default: 2)"
    )
    parser.add_argument("--method", default="auto", choices=("auto", "central", "complex"))
    parser.add_argument("--mode", default="auto", choices=("auto", "full", "random"))
    parser.add_argument(
        "--sweep", action="store_true", help="show the error by the size of the step"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(arguments):
    """Check, print the report; returns 0 where all is well and 1 where not.

    Raises: TinygradAttnError for a file, name, shape or call that cannot be.
    """
    fn, module = _load(arguments.function)
    if arguments.inputs is None:
        inputs = _random_inputs(fn, arguments)
    else:
        inputs = _named(module, arguments.inputs)
        inputs = inputs() if callable(inputs) else inputs
    options = {
        name: getattr(arguments, name) for name in ("order", "method", "mode", "sweep", "seed")
    }
    try:
        report = gradcheck(fn, inputs, **options)
    except TinygradAttnError:
        raise
    except Exception as error:
        raise DataError(
            f"gradcheck: {arguments.function} raised {type(error).__name__}: {error}"
        ) from error
    print(report)
    return 0 if report else 1


def _load(target):
    """(the function, its module) that "path.py:name" means."""
    path, colon, name = target.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise DataError(f"gradcheck: {target!r} is not of the form path.py:function")
    if not Path(path).is_file():
        raise DataError(f"gradcheck: there is no file {path}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(
            f"gradcheck: {path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.pop(0)
    fn = _named(module, name)
    if not callable(fn):
        raise DataError(
            f"gradcheck: {name} in {path} is a {type(fn).__name__}, which cannot be called"
        )
    return fn, module


def _named(module, name):
    if not hasattr(module, name):
        known = ", ".join(key for key in vars(module) if not key.startswith("_"))
        raise DataError(
            f"gradcheck: {module.__file__} defines no {name!r}; it has {known or 'no names'}"
        )
    return getattr(module, name)


def _random_inputs(fn, arguments):
    """A tensor for each --shape, or for each argument that ``fn`` needs."""
    shapes = arguments.shape or ["2,3"] * _arity(fn)
    draw = host.random.default_rng(arguments.seed)
    return [Tensor(array_from(draw.uniform(*arguments.between, _shape(text)))) for text in shapes]


def _arity(fn):
    parameters = inspect.signature(getattr(fn, "forward", fn)).parameters.values()
    return sum(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )


def _shape(text):
    try:
        shape = () if text == "0d" else tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = (-1,)
    if any(size < 0 for size in shape):
        raise ShapeError(f'gradcheck: --shape {text!r} is no shape; write sizes as "2,3", or "0d"')
    return shape
