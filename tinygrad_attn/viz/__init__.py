"""Pictures: who attends whom, what fed what, how the loss fell. matplotlib comes in when drawn."""

from .attention import attention_picture
from .curves import loss_picture
from .graph import graph_picture
from .picture import check_picture, save_picture

__all__ = ["attention_picture", "check_picture", "graph_picture", "loss_picture", "save_picture"]
