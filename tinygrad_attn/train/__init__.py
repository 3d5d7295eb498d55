"""Training: the loop, on one core or all, its progress, and weights in a file."""

from .checkpoint import load_checkpoint, save_checkpoint
from .communicator import Alone, Communicator
from .local import Local
from .loop import train
from .progress import Progress

__all__ = [
    "Alone",
    "Communicator",
    "Local",
    "Progress",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]
