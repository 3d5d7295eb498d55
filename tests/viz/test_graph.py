"""graph_picture: every node once, every edge, users' own ops too."""

import pytest

import tinygrad_attn as ta
from tinygrad_attn.viz import graph_picture, save_picture


@ta.primitive
def twice(x):
    return x + x


twice.derivatives(x=lambda g: g + g)


def texts(figure):
    return [text.get_text().split("\n")[0] for text in figure.axes[0].texts if text.get_text()]


def test_every_node_stands_once_and_by_its_name(tmp_path):
    x, w = ta.ones(2, 3), ta.ones(3, 3, requires_grad=True)
    y = ta.softmax(twice(x @ w) + w[0]).sum()
    figure = graph_picture(y, {"w": w})
    assert sorted(texts(figure)) == sorted(
        ["w", "matmul", "twice", "gather", "add", "softmax", "sum"]
    )
    arrows = [text for text in figure.axes[0].texts if not text.get_text()]
    assert len(arrows) == 7
    save_picture(figure, tmp_path / "graph.png")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ta.errors.DataError, match="there is no graph"):
        graph_picture(ta.ones(2))
    y = ta.ones(1, requires_grad=True)
    for _ in range(200):
        y = y + 1
    with pytest.raises(ta.errors.DataError, match="201 nodes"):
        graph_picture(y)
