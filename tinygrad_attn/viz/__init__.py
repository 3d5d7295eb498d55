"""Pictures: who attends whom, and how the loss fell. matplotlib is imported when one is drawn."""

from .attention import attention_picture
from .curves import loss_picture
from .picture import check_picture, save_picture

__all__ = ["attention_picture", "check_picture", "loss_picture", "save_picture"]
