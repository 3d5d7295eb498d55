"""The smaller benchmarks print a positive number for every figure, for every contestant."""

import json

import pytest

from benchmarks import generation, layers, rounds, tape
from tests.benchmarks.conftest import each


def printed(capsys):
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("contestant", each(rounds.installed()))
def test_tape(contestant, monkeypatch, capsys):
    monkeypatch.setattr(tape, "LENGTH", 2)
    monkeypatch.setattr(tape, "REPEATS", 1)
    tape.main(contestant)
    figures = printed(capsys)
    assert len(figures) == 12
    assert all(number > 0 for number in figures.values())


@pytest.mark.parametrize("contestant", each(rounds.installed()))
def test_layers(contestant, monkeypatch, capsys):
    for name, value in {"TOKENS": 4, "WIDTH": 4, "WIDE": 8, "CLASSES": 5, "REPEATS": 1}.items():
        monkeypatch.setattr(layers, name, value)
    layers.main(contestant)
    figures = printed(capsys)
    assert list(figures) == list(layers._arguments())
    assert all(number > 0 for number in figures.values())


def test_generation(monkeypatch, capsys):
    monkeypatch.setattr(generation, "BEFORE", (0, 3))
    monkeypatch.setattr(generation, "STEPS", 1)
    generation.main()
    assert list(printed(capsys)) == ["after 0", "after 3"]
