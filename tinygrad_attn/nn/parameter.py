"""Parameter: a tensor that a module owns and an optimizer changes."""

from ..core import Tensor
from ..ops.check import as_tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A leaf tensor that becomes a parameter of the module to which it is assigned.

    The values are copied: an optimizer writes into a parameter in place, and what the user handed
    in should not change under their hands.

    Args:
        data: a tensor, an array, a number or nested lists, of real numbers.
        requires_grad: False for values that are saved with the model but not trained.
    Raises: DTypeError for integers and booleans that would have to carry a gradient.

    Example:
        >>> from tinygrad_attn import nn
        >>> nn.Parameter([1.0, 2.0])
        tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data, requires_grad: bool = True):
        super().__init__(as_tensor(data, where="Parameter").data.copy())
        self.requires_grad_(requires_grad)
