"""Who attends whom, drawn: a map for every head of every layer."""

import numpy as np

from ..core import Tensor
from ..errors import ShapeError
from .picture import INK, PALE, STYLE, new_figure

__all__ = ["attention_picture"]


def attention_picture(
    weights: Tensor | np.ndarray,
    keys,
    queries=None,
    *,
    title: str | None = None,
    divide: int | None = None,
    key_label: str = "attended",
    query_label: str = "attends",
):
    """A figure with one map a head: layers down the page, heads across; darker is more attention.

    Args:
        weights: who attends whom, each row a query, (layers, H, T, S) or (H, T, S), in 0..1.
        keys: a short text for each of the S columns.
        queries: one for each of the T rows; the last T of ``keys`` if None.
        title: a line above all.
        divide: draw a line before this key, where, say, the answer begins.
        key_label, query_label: what columns and rows are.

    Returns: a matplotlib Figure; ``save_picture`` writes it to a file.
    Raises: ShapeError where labels and weights do not fit.
    """
    weights = np.asarray(weights, dtype=np.float32)
    weights = weights[None] if weights.ndim == 3 else weights
    queries = list(keys)[-weights.shape[-2] :] if queries is None else list(queries)
    if weights.ndim != 4 or weights.shape[2:] != (len(queries), len(keys)):
        raise ShapeError(
            f"attention_picture: weights is {weights.shape}, with {len(queries)} queries and "
            f"{len(keys)} keys; it must be (layers, heads, queries, keys)"
        )
    from matplotlib import rc_context

    with rc_context(STYLE):
        return _draw(weights, list(keys), queries, title, divide, key_label, query_label)


def _draw(weights, keys, queries, title, divide, key_label, query_label):
    layers, heads = weights.shape[:2]
    cell = 0.16  # inches a weight, which is room for its label
    figure = new_figure(
        heads * (len(keys) * cell + 0.45) + 1.0, layers * (len(queries) * cell + 0.7) + 0.7
    )
    maps = figure.subplots(layers, heads, squeeze=False)
    for layer in range(layers):
        for head in range(heads):
            axes = maps[layer, head]
            image = axes.imshow(
                weights[layer, head], vmin=0, vmax=1, cmap="Blues", interpolation="nearest"
            )
            axes.set_title(f"layer {layer + 1}, head {head + 1}", color=INK)
            axes.set_xticks(range(len(keys)), keys)
            axes.set_yticks(range(len(queries)), queries)
            axes.tick_params(length=0, labelsize=7.5)
            axes.spines[:].set_visible(False)
            axes.set_xticks(np.arange(-0.5, len(keys)), minor=True)
            axes.set_yticks(np.arange(-0.5, len(queries)), minor=True)
            axes.grid(which="minor", color="#e6eaee", linewidth=0.5)
            axes.tick_params(which="minor", length=0)
            if divide is not None:
                axes.axvline(divide - 0.5, color=PALE, linewidth=1)
    for axes in maps[-1]:
        axes.set_xlabel(key_label)
    for axes in maps[:, 0]:
        axes.set_ylabel(query_label)
    bar = figure.colorbar(image, ax=maps, shrink=0.6, aspect=30, pad=0.01, ticks=[0, 0.5, 1])
    bar.set_label("attention weight")
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure
