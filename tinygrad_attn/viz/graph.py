"""The graph behind a tensor as a picture: what fed what, results below, leaves on top."""

from ..core import Tensor
from ..errors import DataError
from .picture import INK, PALE, new_figure

__all__ = ["graph_picture"]

_MOST = 200  # nodes, beyond which nobody could read the picture
_LEAF, _OP = "#dcebdd", "#e4e9f2"


def graph_picture(y: Tensor, names: dict[str, Tensor] | None = None):
    """A matplotlib Figure of the ops that made ``y``, each with the shape of its result.

    Args:
        y: a tensor with a graph that was not yet walked back.
        names: what to call leaves: {"weight": w}.

    Raises: DataError where y has no graph, or one of more than 200 nodes.

    Example:
        >>> import tinygrad_attn as ta
        >>> from tinygrad_attn.viz import graph_picture
        >>> w = ta.tensor([1.0, 2.0], requires_grad=True)
        >>> figure = graph_picture((w * w).sum(), {"w": w})
        >>> [text.get_text().split()[0] for text in figure.axes[0].texts if text.get_text()]
        ['w', 'multiply', 'sum']
    """
    if y.node is None:
        raise DataError("graph_picture: the tensor requires no gradient, so there is no graph")
    nodes = _oldest_first(y.node)
    if len(nodes) > _MOST:
        raise DataError(f"graph_picture: {len(nodes)} nodes; a picture holds at most {_MOST}")
    places = _places(nodes)
    known = {id(tensor.node): name for name, tensor in (names or {}).items()}
    width = 1 + max(x for x, _ in places.values()) - min(x for x, _ in places.values())
    height = 1 + max(row for _, row in places.values())
    figure = new_figure(max(1.6 * width, 2.5), 0.9 * height)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(min(x for x, _ in places.values()) - 0.6, width - 0.4 - (width - 1) / 2)
    axes.set_ylim(height - 0.5, -0.5)
    for node in nodes:
        for parent in node.parents:
            if parent is not None:
                bow = 0.3 if places[node][1] - places[parent][1] > 1 else 0.0  # go round
                arrow = {"arrowstyle": "-|>", "color": PALE, "shrinkA": 16, "shrinkB": 16}
                arrow["connectionstyle"] = f"arc3,rad={bow}"
                axes.annotate("", places[node], places[parent], arrowprops=arrow)
    for node in nodes:
        name = node.op.name if node.op else known.get(id(node), "leaf")
        box = {"boxstyle": "round,pad=0.4", "fc": _OP if node.op else _LEAF, "ec": PALE}
        x, row = places[node]
        axes.text(x, row, f"{name}\n{node.shape}", ha="center", va="center", color=INK, bbox=box)
    return figure


def _oldest_first(root):
    """Every node behind ``root``, itself included, in the order in which they were recorded."""
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.time)


def _places(nodes):
    """{node: (x, row)}: a node stands below all of its parents, a leaf just above its first use."""
    rows = {}
    for node in nodes:
        rows[node] = 1 + max((rows[p] for p in node.parents if p is not None), default=-1)
    for node in reversed(nodes):  # leaves come down to where they are used
        if not node.op:
            users = [rows[user] for user in nodes if node in user.parents]
            rows[node] = min(users, default=1) - 1
    layers = {}
    for node in nodes:
        layers.setdefault(rows[node], []).append(node)
    return {
        node: (i - (len(layer) - 1) / 2, row)
        for row, layer in layers.items()
        for i, node in enumerate(layer)
    }
