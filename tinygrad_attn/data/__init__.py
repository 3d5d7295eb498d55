"""Input to learn from, prepared on the host: a toy task, text, and the order in which to meet it.

Everything in here is NumPy on the CPU, before any tensor is made, and nothing has a state: a batch
is a pure function of ``(seed, epoch, index)``, so a run can be repeated, resumed or split among
processes.
"""

from .batches import epoch_order, generator
from .files import check_writable, replacing
from .sort import SortTask
from .text import CharVocabulary, TextWindows, default_text, read_text, split_text

__all__ = [
    "CharVocabulary",
    "SortTask",
    "TextWindows",
    "check_writable",
    "default_text",
    "epoch_order",
    "generator",
    "read_text",
    "replacing",
    "split_text",
]
