"""The sort task: read some digits, write them in order.

The smallest task that a Transformer learns in seconds and cannot fake: each digit of the answer
depends on all digits of the question. One sequence is the question followed by its answer,

    3 1 4 1 5 9 2 6 5 3   1 1 2 3 3 4 5 5 6 9

and the model predicts, as always, the next token. The question itself is random, so predicting it
is no part of the task: its targets are ``IGNORED``, and the loss leaves them out.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .batches import generator

__all__ = ["IGNORED", "SortTask"]

IGNORED = -100  # the default ignore_index of cross_entropy

_HELD_OUT = 16  # one multiset of digits in so many is kept for the test
_MIX = np.uint64(
    0x9E3779B97F4A7C15
)  # 2⁶⁴ / golden ratio: its multiples spread evenly (Fibonacci hashing)


@dataclass(frozen=True)
class SortTask:
    """Sequences of ``length`` digits below ``digits``, each followed by the same digits sorted.

    A sixteenth of all *multisets* of digits is held out for the test, by a hash of the sorted
    digits. So training meets neither a test sequence nor any reordering of it: what is right in the
    test cannot have been learned by heart.

    Example:
        >>> from tinygrad_attn.data import SortTask
        >>> task = SortTask(length=4)
        >>> x, y = task.batch(1, seed=0)
        >>> x.shape == y.shape == (1, task.context)
        True
        >>> task.answers(x[:, :4])  # doctest: +SKIP
        array([[2, 5, 6, 8]])
    """

    length: int = 10
    digits: int = 10

    def __post_init__(self):
        if self.length < 1 or self.digits < 2:
            raise DataError(
                f"SortTask: length {self.length}, digits {self.digits}; "
                "there must be at least one place to sort and two digits to tell apart"
            )

    @property
    def context(self) -> int:
        """How many tokens the model reads: all but the last digit, which it only writes."""
        return 2 * self.length - 1

    def batch(self, size: int, *, seed: int, epoch: int = 0, index: int = 0):
        """Inputs and targets for training, both ``(size, context)`` int64.

        Target t is token t + 1; those inside the question are ``IGNORED``.
        """
        questions = self._draw(size, generator(seed, epoch, index), held_out=False)
        tokens = np.concatenate([questions, self.answers(questions)], axis=1)
        inputs, targets = tokens[:, :-1], tokens[:, 1:].copy()
        targets[:, : self.length - 1] = IGNORED
        return inputs, targets

    def test(self, size: int, *, seed: int = 0):
        """Questions and answers that no batch ever holds, both ``(size, length)`` int64."""
        questions = self._draw(size, generator(seed), held_out=True)
        return questions, self.answers(questions)

    def answers(self, questions: np.ndarray) -> np.ndarray:
        """What to write for these questions: each row sorted."""
        return np.sort(questions, axis=1)

    def is_held_out(self, questions: np.ndarray) -> np.ndarray:
        """For each row, whether its digits, in whatever order, are kept for the test."""
        places = np.uint64(self.digits) ** np.arange(self.length, dtype=np.uint64)
        number = (
            self.answers(questions).astype(np.uint64) @ places
        )  # wraps round at 2⁶⁴: it is a hash
        return (number * _MIX >> np.uint64(32)) % np.uint64(_HELD_OUT) == 0

    def _draw(self, size, random, held_out):
        """Random questions from one side of the split; what falls on the other is drawn again."""
        if size < 1:
            raise DataError(f"SortTask: a batch of {size} sequences is empty; ask for at least 1")
        questions = random.integers(0, self.digits, (size, self.length))
        while (wrong := self.is_held_out(questions) != held_out).any():
            questions[wrong] = random.integers(0, self.digits, (wrong.sum(), self.length))
        return questions
