"""Training: the loop, its progress, and weights in a file."""

from .checkpoint import load_checkpoint, save_checkpoint
from .loop import train
from .progress import Progress

__all__ = ["Progress", "load_checkpoint", "save_checkpoint", "train"]
