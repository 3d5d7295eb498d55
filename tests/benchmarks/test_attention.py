"""Both contestants run on every path, and the table has a row for each length."""

import json

import pytest

from benchmarks import attention, rounds
from tests.benchmarks.conftest import each


@pytest.mark.parametrize("contestant", each(rounds.installed()))
@pytest.mark.parametrize("path", ["tiled", "spec"])
def test_one_length(contestant, path, capsys):
    if contestant == "torch" and path == "spec":
        path = "tiled"
    attention.main(contestant, path, "2", "4", "16")
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == [f"{path} 2x4 16 ms", f"{path} 2x4 16 MB"]


def test_the_table(monkeypatch):
    monkeypatch.setattr(attention, "SHAPES", {(2, 4): (16, 8192)})
    results = {
        name: {
            attention.figure_name(*case, unit): [case[-1] * (1.0 if name == "ours" else 2.0)]
            for case in attention.cases(name)
            for unit in ("ms", "MB")
        }
        for name in ("ours", "torch")
    }
    assert attention.tables(results) == (
        "| 2 heads of 4 | ms ours | ms torch | ms spec | ratio | MB ours | MB torch | MB spec |"
        " ratio |\n"
        "| ------------ | ------: | -------: | ------: | ----: | ------: | -------: | ------: |"
        " ----: |\n"
        "| T = 16       |    16.0 |     32.0 |    16.0 |  0.50 |    16.0 |     32.0 |    16.0 |"
        "  0.50 |\n"
        "| T = 8192     |    8192 |    16384 |         |  0.50 |    8192 |    16384 |         |"
        "  0.50 |"
    )
    assert "ratio" not in attention.tables({"ours": results["ours"]})
