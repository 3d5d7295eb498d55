"""Text as characters: files to strings, strings to numbers, numbers to windows for a model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .batches import epoch_order, generator

__all__ = ["CharVocabulary", "TextWindows", "default_text", "read_text", "split_text"]


# ---- where text comes from -----------------------------------------------------------------------


def read_text(path: str | Path) -> str:
    r"""The text of a UTF-8 file; ``\r\n`` becomes ``\n``, and a byte order mark goes.

    Raises: DataError for a file that is missing, unreadable, empty, or not UTF-8.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f'read_text: cannot read "{path}": {error.strerror or error}') from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f'read_text: "{path}" is not UTF-8: byte 0x{raw[error.start]:02x} at position '
            f"{error.start}; save it as UTF-8 first"
        ) from error
    if not text:
        raise DataError(f'read_text: "{path}" is empty; there is nothing to learn from')
    return text.replace("\r\n", "\n")


def default_text() -> str:
    """Some 400,000 characters of English that every CPython has on board: the topics of ``help()``.

    Many topics repeat paragraphs of others. Each paragraph is kept once, where it first appears,
    lest what is set aside for validation has been seen in training.
    Raises: DataError on a Python that was packaged without ``pydoc_data``.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "default_text: this Python was packaged without pydoc_data; give a text of your own"
        ) from error
    paragraphs = "\n\n".join(topics.values()).split("\n\n")
    return "\n\n".join(dict.fromkeys(p.strip("\n") for p in paragraphs if p.strip())) + "\n"


# ---- characters as numbers -----------------------------------------------------------------------


class CharVocabulary:
    """The characters of a text, numbered by their place in ``characters``.

    Example:
        >>> from tinygrad_attn.data import CharVocabulary
        >>> vocabulary = CharVocabulary.of("banana")
        >>> vocabulary.encode("nab")
        array([2, 0, 1])
        >>> vocabulary.decode([1, 0, 2])
        'ban'
    """

    def __init__(self, characters: str):
        if not characters or len(set(characters)) != len(characters):
            raise DataError(
                f"CharVocabulary: {len(characters)} characters, {len(set(characters))} of them "
                "different; there must be at least one, and none twice"
            )
        self.characters = characters
        codes = _code_points(characters)
        self._order = np.argsort(codes).astype(np.int64)  # codes are looked up by bisection
        self._sorted = codes[self._order]

    @classmethod
    def of(cls, text: str) -> "CharVocabulary":
        """The vocabulary of all characters in ``text``, in the order of their code points."""
        return cls("".join(sorted(set(text))))

    def __len__(self):
        return len(self.characters)

    def __eq__(self, other):
        return isinstance(other, CharVocabulary) and self.characters == other.characters

    def __hash__(self):
        return hash(self.characters)

    def __repr__(self):
        return f"CharVocabulary({self.characters!r})"

    def encode(self, text: str) -> np.ndarray:
        """The number of each character, as int64. Raises: DataError for one that has none."""
        codes = _code_points(text)
        places = np.searchsorted(self._sorted, codes).clip(max=len(self) - 1)
        unknown = np.flatnonzero(self._sorted[places] != codes)
        if unknown.size:
            at = int(unknown[0])
            raise DataError(
                f"encode: {text[at]!r} at position {at} is none of the {len(self)} characters "
                f"known; they are {self.characters!r}"
            )
        return self._order[places]

    def decode(self, ids) -> str:
        """The text of these numbers. Raises: DataError for one that stands for no character."""
        ids = np.asarray(ids)
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise DataError(
                f"decode: ids from {ids.min()} to {ids.max()}; the {len(self)} characters are "
                f"numbered 0..{len(self) - 1}"
            )
        return "".join(self.characters[i] for i in ids.ravel())


def _code_points(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


# ---- windows -------------------------------------------------------------------------------------


def split_text(ids: np.ndarray, context: int, held_out: float = 0.1):
    """Split by position: (all but the end to train on, the last ``held_out`` to validate with).

    By position and not at random: windows drawn at random overlap, and the overlap would be known.
    The part held out is never shorter than one window.
    Raises: DataError for a text too short to give each side a window of ``context`` characters.
    """
    window = context + 1  # inputs and, one further, targets
    if len(ids) < 2 * window:
        raise DataError(
            f"split_text: the text has {len(ids)} characters, too few for a context of {context}; "
            f"training and validation need {window} each: give at least {2 * window}, or choose a "
            "shorter context"
        )
    end = max(window, len(ids) - max(window, round(held_out * len(ids))))
    return ids[:end], ids[end:]


@dataclass(frozen=True, eq=False)
class TextWindows:
    """Windows of ``context`` tokens cut from ``ids``; the target of each token is the one after it.

    An epoch reads the text once, in windows laid side by side and met in random order. Each epoch
    cuts at other places, so that no character is forever the first of its window.
    """

    ids: np.ndarray
    context: int

    def __post_init__(self):
        if self.context < 1 or len(self.ids) <= self.context:
            raise DataError(
                f"TextWindows: {len(self.ids)} tokens, context {self.context}; a window needs a "
                "context of at least 1 and one token more than that"
            )

    def __len__(self):
        """The number of windows in an epoch."""
        return max(1, (len(self.ids) - self.context) // self.context)

    def batches(self, size: int) -> int:
        """The number of batches in an epoch; windows that fill no whole one wait for the next."""
        return max(1, len(self) // size)

    def batch(self, size: int, *, seed: int, epoch: int, index: int):
        """Inputs and targets, both ``(size, context)`` int64; fewer rows if there are no more."""
        if size < 1 or not 0 <= index < self.batches(size):
            raise DataError(
                f"TextWindows: batch {index} of size {size}; an epoch of {len(self)} windows has "
                f"batches 0..{self.batches(max(size, 1)) - 1}, of at least 1 window"
            )
        room = len(self.ids) - 1 - len(self) * self.context
        shift = generator(seed, epoch, 1).integers(min(self.context, room + 1))
        chosen = epoch_order(len(self), seed, epoch)[index * size : (index + 1) * size]
        return self._cut(shift + chosen * self.context)

    def in_order(self, size: int):
        """Every window once, first to last, as batches of at most ``size``: for validation."""
        starts = np.arange(len(self)) * self.context
        for i in range(0, len(starts), size):
            yield self._cut(starts[i : i + size])

    def _cut(self, starts):
        inputs = starts[:, None] + np.arange(self.context)
        return self.ids[inputs], self.ids[inputs + 1]
