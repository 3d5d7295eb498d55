"""Fused ops: for each its spec, the plain definition, and its portable kernel."""

from .cross_entropy import *
from .dropout import *
from .embedding import *
from .gelu import *
from .linear import *
from .linear_packed import *
from .norm import *
from .softmax import *
