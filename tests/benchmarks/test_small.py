"""The smaller benchmarks print a positive number for every figure, for every contestant."""

import json

import pytest

from benchmarks import generation, layers, products, rounds, tape
from benchmarks.contestants.problem import Sizes
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


@pytest.mark.parametrize("contestant", each(rounds.installed()))
def test_products(contestant, monkeypatch, capsys):
    monkeypatch.setattr(products, "CONFIGS", {"S": Sizes(V=5, T=3, B=2, D=4, L=2, H=2)})
    monkeypatch.setattr(products, "REPEATS", 1)
    products.main(contestant)
    assert [*printed(capsys)] == ["S"]


def test_the_products_are_those_of_the_weights():
    assert products.shapes(Sizes(V=5, T=3, B=2, D=4, L=1, H=2)) == [
        (12, 4),
        (4, 4),
        (16, 4),
        (4, 16),
        (5, 4),
    ]


def test_generation(monkeypatch, capsys):
    monkeypatch.setattr(generation, "BEFORE", (0, 3))
    monkeypatch.setattr(generation, "STEPS", 1)
    generation.main()
    assert list(printed(capsys)) == ["after 0", "after 3"]
