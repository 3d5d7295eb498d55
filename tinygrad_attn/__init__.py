from .core import *
from .ops import *
