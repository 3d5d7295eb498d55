"""How the loss fell."""

import numpy as np

from ..errors import ShapeError
from .picture import PALE, STYLE, new_figure

__all__ = ["loss_picture"]


def loss_picture(
    losses,
    validation=(),
    *,
    levels: dict[str, float] | None = None,
    unit: str = "nats",
    title: str | None = None,
):
    """A figure of the training loss at every step, and of the validation loss now and then.

    Args:
        losses: the loss at step 1, 2, ...; drawn pale, with its running mean over it.
        validation: pairs (steps done, loss).
        levels: named losses to compare with, such as that of a uniform guess.
        unit: of the loss.
        title: a line above it.

    Returns: a matplotlib Figure; ``save_picture`` writes it to a file.
    Raises: ShapeError without a loss to draw.
    """
    if not len(losses):
        raise ShapeError("loss_picture: there is no loss to draw; train for at least one step")
    from matplotlib import rc_context

    with rc_context(STYLE):
        return _draw(np.asarray(losses), list(validation), levels or {}, unit, title)


def _draw(losses, validation, levels, unit, title):
    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    smooth = _running_mean(losses, len(losses) // 50)
    axes.plot(steps, losses, color="#b9d0e8", linewidth=0.8)
    axes.plot(
        steps,
        smooth,
        color="#2b6cb0",
        linewidth=1.8,
        label=f"training, {smooth[-1]:.3f} in the end",
    )
    if validation:
        last = f"validation, {validation[-1][1]:.3f} in the end"
        axes.plot(*zip(*validation), "o-", color="#c05621", markersize=4, linewidth=1.2, label=last)
    for name, level in levels.items():
        axes.axhline(level, color=PALE, linewidth=0.8, linestyle=(0, (4, 4)))
        axes.annotate(
            name, (1, level), (0, 3), ("axes fraction", "data"), "offset points", ha="right"
        )
    axes.set_xlabel("steps")
    axes.set_ylabel(unit)
    axes.set_xlim(0, len(losses) * 1.01)
    axes.locator_params(axis="x", integer=True)  # there is no half step
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.38), frameon=False)
    if title:
        axes.set_title(title)
    return figure


def _running_mean(values, reach):
    """At each place the mean of the values around it, ``reach`` each way, fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(reach, np.minimum(places, places[::-1]))
    return (total[places + reach + 1] - total[places - reach]) / (2 * reach + 1)
