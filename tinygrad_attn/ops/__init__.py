"""The mathematics: every op a page, a forward with its derivatives beside it.

Read ``elementwise`` first. The names are NumPy's; what NumPy lacks is called as in PyTorch. This
module is also the array library of Tensors: a derivative rule that computes with raw arrays by
numpy or cupy computes with Tensors by this.
"""

import sys
from types import ModuleType

from ..backend import register_namespace
from ..core import Tensor
from . import methods, precision
from .activations import *
from .alibi import *
from .attention import *
from .choice import *
from .compare import *
from .create import *
from .cumulative import *
from .diagonals import *
from .einsum import *
from .elementwise import *
from .extremes import *
from .functions import *
from .fused import *
from .index import *
from .join import *
from .linalg import *
from .losses import *
from .order import *
from .padding import *
from .pairs import *
from .random import *
from .reduce import *
from .rope import *
from .rounding import *
from .select import *
from .sequence import *
from .shape import *

register_namespace(Tensor, sys.modules[__name__])

_NOT_OPS = ("ModuleType", "Tensor", "register_namespace")
__all__ = [  # the ops, and not the pages they stand on: some share a name
    name
    for name, value in vars().items()
    if not (name.startswith("_") or name in _NOT_OPS or isinstance(value, ModuleType))
]
