"""Files that are written whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError

__all__ = ["check_writable", "reason", "replacing"]


@contextmanager
def replacing(path: str | Path):
    """Gives a name beside ``path`` to write to; what is there in the end takes its place.

    A crash, a full disk or an error inside the context leaves what stood at ``path`` before,
    untouched.
    Raises: DataError where it cannot be written: no such folder, no permission, no ordinary file.
    """
    with _beside(path) as (temporary, target):
        yield temporary
        os.replace(temporary, target)


def check_writable(path: str | Path) -> None:
    """Find out now, and not after an hour of training, whether a file can be written at ``path``.

    Raises: DataError as ``replacing``.
    """
    with _beside(path) as (temporary, _):
        temporary.touch()


@contextmanager
def _beside(path):
    """(A free name in the same folder with the same suffix, what ``path`` really points to)."""
    target = Path(path).resolve()
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        if target.exists() and not target.is_file():
            raise OSError("it is a folder" if target.is_dir() else "it is no ordinary file")
        yield temporary, target
    except OSError as error:
        raise DataError(f'cannot write "{path}": {reason(error)}') from error
    finally:
        if temporary.exists():
            temporary.unlink()


def reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return error.strerror or str(error) or type(error).__name__
