"""The mathematics: every op a page, a forward with its derivatives beside it.

Read ``elementwise`` first. The names are NumPy's; what NumPy lacks is called as in PyTorch. This module
is also the array library of Tensors: a derivative rule that computes with raw arrays by numpy or cupy
computes with Tensors by this.
"""

import sys

from ..backend import register_namespace
from ..core import Tensor
from . import methods
from .create import *
from .elementwise import *
from .reduce import *
from .shape import *

register_namespace(Tensor, sys.modules[__name__])
