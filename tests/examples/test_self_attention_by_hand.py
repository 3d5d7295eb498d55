"""self_attention_by_hand: every step is shown as it is, by hand as by the library, and drawn."""

import importlib
import re

import numpy as np
import pytest

from .conftest import EXAMPLES

NAME = "self_attention_by_hand"
WORDS, MOTS = "black cats drink cold milk".split(), "les chats noirs boivent du lait froid".split()


def tables(out):
    """What was printed: (title, shape, columns, rows, numbers) of every table, in order."""
    form = r"^([^\n]+)  (\(\d+, \d+\))\n\n( {8}[^\n]+)\n(.+?)\n(?:\n|\Z)"
    for title, shape, head, body in re.findall(form, out, re.MULTILINE | re.DOTALL):
        lines = [line.replace("│", " ").replace("−∞", "-inf").split() for line in body.splitlines()]
        numbers = np.array([line[1:] for line in lines], dtype=float)
        columns = head.replace("│", " ").split()
        yield title, shape, columns, [line[0] for line in lines], numbers


def softmax(scores):
    """Each row e^score, divided by the sum of the row."""
    powers = np.exp(scores)
    return powers / powers.sum(axis=-1, keepdims=True)


def test_every_step_is_printed_and_follows_from_the_one_before(example):
    code, out, err = example(NAME)
    assert (code, err) == (0, "")
    x, *alone, s, w, y, z, cross_s, cross_w, cross_y = tables(out)
    assert [table[:2] for table in (x, z)] == [
        ("The words, x", "(5, 4)"),
        ("The French words, z", "(7, 4)"),
    ]
    scenes = [(alone, x, WORDS), ([s, w, y], x, WORDS), ([cross_s, cross_w, cross_y], z, MOTS)]
    for (scores, weights, result), values, keys in scenes:
        expected = x[-1] @ values[-1].T / 2
        closed = np.isinf(scores[-1])
        np.testing.assert_array_equal(scores[-1][~closed], expected[~closed])
        np.testing.assert_allclose(weights[-1][:, :-1], softmax(scores[-1]), atol=6e-4)
        np.testing.assert_array_equal(weights[-1][:, -1], 1.0)
        by_hand, library = np.split(result[-1], 2, axis=1)
        np.testing.assert_allclose(by_hand, weights[-1][:, :-1] @ values[-1], atol=6e-3)
        np.testing.assert_array_equal(by_hand, library)
        assert [scores[1], weights[1], result[1]] == [f"(5, {len(keys)})"] * 2 + ["(5, 4)"]
        assert (scores[2], weights[2]) == (keys, [*keys, "sum"])
        assert scores[3] == weights[3] == result[3] == WORDS


def test_only_the_causal_scene_closes_pairs_and_closes_those_ahead(example):
    scores = [table[-1] for table in tables(example(NAME).out) if table[0].startswith("1.")]
    alone, causal, cross = map(np.isinf, scores)
    assert not alone.any()
    assert not cross.any()
    np.testing.assert_array_equal(causal, np.triu(np.ones((5, 5), bool), k=1))


def test_by_hand_and_by_the_library_are_the_same(example):
    differences = re.findall(r"The largest difference: (\S+)", example(NAME).out)
    assert len(differences) == 3
    assert max(map(float, differences)) < 1e-6


def test_each_word_finds_its_translation(example):
    out = example(NAME).out
    assert "black→noirs, cats→chats, drink→boivent, cold→froid, milk→lait." in out
    weights = [table[-1] for table in tables(out) if table[0].startswith("2.")][-1]
    assert weights[:, :-1].argmax(axis=1).tolist() == [2, 1, 3, 6, 5]


def test_it_fits_a_narrow_terminal(example):
    assert max(map(len, example(NAME).out.splitlines())) <= 80


def test_the_chapter_shows_what_the_example_prints(example):
    chapter = EXAMPLES.parent / "docs" / "05-self-attention-by-hand.md"
    shown = re.findall(r"^```text\n(.*?)^```", chapter.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    out = example(NAME).out
    assert shown
    assert [block for block in shown if block not in out] == []


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_picture_is_drawn(example, tmp_path, kind):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"steps.{kind}"
    code, out, err = example(NAME, "--plot", path)
    assert (code, err) == (0, "")
    assert str(path) in out
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[kind])


def test_the_picture_shows_every_table_with_its_words(example, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = []
    example(NAME)  # which makes its module known
    module = importlib.import_module(NAME)
    monkeypatch.setattr(module, "save_picture", lambda figure, path: figures.append(figure))
    out = example(NAME, "--plot", tmp_path / "steps.png").out
    assert [text.get_text() for text in figures[0].texts] == re.findall(r"^(.+)\n──", out, re.M)
    maps = {axes.get_title(loc="left"): [] for axes in figures[0].axes}
    for axes in figures[0].axes:
        maps[axes.get_title(loc="left")].append(axes)
    for title, shape, columns, rows, numbers in tables(out):
        axes = maps[f"{title}  {shape}"].pop(0)
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == columns[: len(names)]
        assert [label.get_text() for label in axes.get_yticklabels()] == rows
        cells = [float(text.get_text().replace("−∞", "-inf")) for text in axes.texts]
        np.testing.assert_array_equal(cells, numbers[:, : len(names)].ravel())
    assert {title: len(left) for title, left in maps.items() if left} == {
        "Who may read whom  (5, 5)": 1
    }


def test_the_flags_of_all_examples_are_taken_and_change_nothing(example):
    flags = "--device cpu --seed 3 --steps 9 --batch-size 2 --lr 0.5 --quick".split()
    assert example(NAME, *flags) == example(NAME)


def test_help_lists_the_flags_that_matter_and_no_others(example):
    code, out, _ = example(NAME, "--help")
    assert code == 0
    assert set(re.findall(r"--[a-z-]+", out)) == {"--help", "--device", "--plot"}


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--device", "tpu"], 'unknown device "tpu"'),
        (["--lr", "nan"], "argument --lr: 'nan' is not a positive number"),
        (["--plot", "missing/picture.png"], 'cannot write "missing/picture.png"'),
        (["--plot", "picture.gif"], '"picture.gif" must end in one of .png, .pdf, .svg'),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(example, flags, message):
    code, out, err = example(NAME, *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_ctrl_c_ends_with_a_message(example, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    example(NAME)
    monkeypatch.setattr(importlib.import_module(NAME), "attention_by_hand", interrupted)
    code, _, err = example(NAME)
    assert code == 130
    assert "Stopped by Ctrl-C." in err
