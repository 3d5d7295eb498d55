"""What all pictures share: one quiet style, and files that are written whole."""

from pathlib import Path

from ..data.files import check_writable, replacing
from ..errors import DataError

__all__ = ["INK", "PALE", "PAPER", "STYLE", "check_picture", "new_figure", "save_picture"]

INK, PALE, PAPER = "#22303c", "#8a97a3", "#ffffff"

# Every matplotlib writes these by itself. What else it knows differs from version to version, and
# may want LaTeX, which shows only when it writes: after the training.
KINDS = (".png", ".pdf", ".svg")

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so pictures look alike everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "svg.hashsalt": "tinygrad_attn",  # the same picture, the same bytes
}


def new_figure(width: float, height: float):
    """An empty matplotlib Figure of this size in inches, which needs no window or display."""
    _matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_picture(path: str | Path) -> None:
    """Find out before the work whether ``save_picture`` will be able to write ``path``.

    Raises: DataError for another suffix than .png, .pdf and .svg, without matplotlib, or for an
    unwritable place.
    """
    if Path(path).suffix.lower() not in KINDS:
        raise DataError(f'picture: "{path}" must end in one of {", ".join(KINDS)}')
    _matplotlib()
    check_writable(path)


def save_picture(figure, path: str | Path) -> None:
    """Write a figure to ``path``, in the format that its suffix names. Raises: DataError."""
    check_picture(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=160)


def _matplotlib():
    try:
        import matplotlib
    except ImportError as error:
        raise DataError(
            "picture: matplotlib is not installed; pip install 'tinygrad-attn[plot]', or draw none"
        ) from error
    return matplotlib
