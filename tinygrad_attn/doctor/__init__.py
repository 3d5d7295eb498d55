"""``python -m tinygrad_attn doctor``: what this machine has, and what it lacks to use its GPU.

``host`` looks at Python, NumPy and MPI, ``gpu`` at the driver and CuPy, ``command`` prints what
they found. Each check is a function that returns a Finding; none raises.
"""

from .command import add_arguments, run
from .findings import Finding

__all__ = ["Finding", "add_arguments", "run"]
