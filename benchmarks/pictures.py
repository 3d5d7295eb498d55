"""The tables as pictures: bars for the step, curves for attention."""

from statistics import median

from matplotlib import rc_context

from tinygrad_attn.viz.picture import INK, PALE, PAPER, STYLE, new_figure

from . import attention
from .contestants import CONTESTANTS
from .report import figure
from .step import peer_of

__all__ = ["draw_attention", "draw_step"]

OURS, FLOOR = "#1f6f8b", "#8fbccb"
LONGEST = 2.5


def draw_step(results):
    """For each config the times and the peak memory of all contestants, as bars."""
    with rc_context(STYLE):
        rows = len(results)
        tallest = max(map(len, results.values()))
        picture = new_figure(9, 0.5 + rows * (0.5 + 0.22 * tallest))
        panels = picture.subplots(rows, 2, squeeze=False)
        for (config, by_name), (left, right) in zip(results.items(), panels):
            _bars(left, by_name, "ms", peer_of(by_name))
            _bars(right, by_name, "peak", peer_of(by_name))
            left.set_title(f"{config}: ms a step", loc="left")
            right.set_title(f"{config}: peak memory, MB", loc="left")
            right.set_yticklabels([])
    return picture


def _bars(panel, by_name, key, peer):
    """A bar for each contestant with its number, and a dotted line where the peer ends.

    A bar of more than ``LONGEST`` times the peer's is cut off there, with an arrow beside its
    number, so that the others can be told apart.
    """
    values = [median(figures[key]) for figures in by_name.values()]
    limit = max(values) if peer is None else LONGEST * median(by_name[peer][key])
    ends = [min(value, limit) for value in values]
    colours = [
        {"ours": OURS, "ours, shared": OURS, "by hand": FLOOR}.get(name, PALE) for name in by_name
    ]
    panel.barh(range(len(ends)), ends, color=colours, height=0.7)
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
    for place, (value, end) in enumerate(zip(values, ends)):
        if value > limit:
            panel.text(end, place, f"{figure(value)} → ", va="center", ha="right", color=PAPER)
        else:
            panel.annotate(
                figure(value),
                (end, place),
                (4, 0),
                textcoords="offset points",
                va="center",
                bbox=box,
            )
    if peer:
        panel.axvline(median(by_name[peer][key]), color=INK, linewidth=0.8, linestyle=":", zorder=2)
    panel.set_yticks(range(len(ends)), [CONTESTANTS[name].title for name in by_name])
    panel.set_xlim(0, 1.15 * max(ends))
    panel.invert_yaxis()
    panel.tick_params(axis="y", length=0)


def draw_attention(results):
    """Time and memory by length, both on logarithmic axes, for the first of the shapes."""
    (heads, width), lengths = next(iter(attention.SHAPES.items()))
    looks = {
        ("ours", "tiled"): ("ours", OURS, "-"),
        ("ours", "spec"): ("ours, spec", FLOOR, "--"),
        ("torch", "tiled"): ("PyTorch", INK, ":"),
    }
    with rc_context(STYLE):
        picture = new_figure(9, 3.4)
        for panel, (unit, title) in zip(
            picture.subplots(1, 2), {"ms": "ms, forward and back", "MB": "MB beyond inputs"}.items()
        ):
            for (name, path), (label, colour, style) in looks.items():
                points = _points(results.get(name, {}), path, heads, width, lengths, unit)
                if points:
                    panel.plot(*zip(*points), style, color=colour, label=label, marker="o", ms=3)
            panel.set(xscale="log", yscale="log", title=title, xlabel="T")
            panel.set_xticks(lengths, lengths)
            panel.minorticks_off()
        panel.legend(frameon=False)
    return picture


def _points(figures, path, heads, width, lengths, unit):
    names = {length: attention.figure_name(path, heads, width, length, unit) for length in lengths}
    return [(n, median(figures[name])) for n, name in names.items() if name in figures]
