"""Pictures: they show the numbers they were given; one that cannot be is refused early."""

import sys

import numpy as np
import pytest

from tinygrad_attn.errors import DataError, ShapeError
from tinygrad_attn.viz import attention_picture, check_picture, loss_picture, save_picture

pytest.importorskip("matplotlib")


def weights(*shape):
    drawn = np.random.default_rng(0).random(shape)
    return drawn / drawn.sum(axis=-1, keepdims=True)


def test_every_head_has_its_map():
    shown = weights(2, 3, 4, 5)
    figure = attention_picture(shown, keys="abcde", queries="wxyz", title="T", divide=2)
    maps = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in maps] == [
        f"layer {layer}, head {head}" for layer in (1, 2) for head in (1, 2, 3)
    ]
    for axes, expected in zip(maps, shown.reshape(6, 4, 5)):
        np.testing.assert_allclose(axes.images[0].get_array(), expected, rtol=1e-6)
        assert [label.get_text() for label in axes.get_xticklabels()] == list("abcde")
        assert [label.get_text() for label in axes.get_yticklabels()] == list("wxyz")


def test_queries_are_the_last_keys_unless_named():
    figure = attention_picture(weights(1, 2, 5), keys="abcde")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["d", "e"]


@pytest.mark.parametrize(
    "shape, keys, queries", [((2, 3, 4, 5), "abcd", "wxyz"), ((4, 5), "abcde", "wxyz")]
)
def test_labels_that_do_not_fit_are_refused(shape, keys, queries):
    with pytest.raises(ShapeError, match="attention_picture: weights is"):
        attention_picture(weights(*shape), keys=keys, queries=queries)


def test_the_loss_and_its_levels_are_drawn():
    figure = loss_picture([3.0, 2.0, 1.0], [(2, 2.5), (3, 1.5)], levels={"guess": 4.0}, title="T")
    lines = [line.get_xydata().tolist() for line in figure.axes[0].lines]
    assert [[1, 3], [2, 2], [3, 1]] in lines
    assert [[2, 2.5], [3, 1.5]] in lines
    assert "guess" in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 20, 2000])
def test_the_ticks_of_the_loss_are_whole_steps(count):
    ticks = loss_picture([1.0] * count).axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())
    assert len(ticks) > 1


def test_the_running_mean_of_a_straight_line_is_that_line():
    straight = np.linspace(4.0, 1.0, 200)
    raw, smooth = loss_picture(straight).axes[0].lines[:2]
    np.testing.assert_allclose(smooth.get_ydata(), raw.get_ydata(), rtol=1e-12)


def test_no_loss_is_no_picture():
    with pytest.raises(ShapeError, match="no loss to draw"):
        loss_picture([])


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "PNG"])
def test_pictures_are_saved_in_the_format_of_their_suffix(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    save_picture(loss_picture([1.0]), path)
    begins = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix.lower()]
    assert path.read_bytes().startswith(begins)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name, message",
    [
        ("picture.gif", r'"\S+picture.gif" must end in one of \.png, \.pdf, \.svg'),
        ("picture.pgf", "must end in"),  # matplotlib knows it, and asks for LaTeX when it writes it
        ("picture.raw", "must end in"),
        ("picture", "must end in"),
        ("no/p.png", "cannot write"),
    ],
)
def test_what_cannot_be_a_picture_is_refused_before_it_is_drawn(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        check_picture(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DataError, match="pip install 'tinygrad-attn\\[plot\\]'"):
        check_picture(tmp_path / "picture.png")
