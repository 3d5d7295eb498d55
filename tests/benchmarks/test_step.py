"""The step benchmark: refusal before any time, peers left out, and what its tables say."""

from types import SimpleNamespace

import pytest

from benchmarks import step
from benchmarks.check import Refused
from benchmarks.contestants import CONTESTANTS, Contestant, by_hand, process
from benchmarks.rounds import Failed


class WrongByOnePercent(by_hand.Run):
    """Our kernels, and a mistake in one gradient."""

    def gradients(self):
        loss, found = super().gradients()
        found["blocks.1.mlp.up.weight"] = found["blocks.1.mlp.up.weight"] * 1.01
        return loss, found


class Planted(Contestant):
    """A peer that makes this mistake."""

    def load(self):
        return SimpleNamespace(Run=WrongByOnePercent)


def here(module, what, *arguments):
    """Run the check of a contestant in this process."""
    assert (module, what) == (step.PROCESS, "check")
    process.check(*arguments)


def test_who_computes_the_same_may_run(path):
    assert step.checked(["ours", "by hand"], path, 1, here) == ["ours", "by hand"]


def test_a_planted_fault_is_refused_by_name(path, monkeypatch):
    monkeypatch.setitem(CONTESTANTS, "wrong", Planted("wrong", "", "torch"))
    message = "wrong: refused: the gradient of blocks.1.mlp.up.weight differs by .* is allowed"
    with pytest.raises(Refused, match=message):
        step.checked(["ours", "wrong"], path, 1, here)


def test_a_peer_that_does_not_run_is_left_out_and_we_are_not(path, monkeypatch, capsys):
    def start(module, what, name, *rest):
        if name == broken:
            raise Failed("no compiler")
        here(module, what, name, *rest)

    monkeypatch.setitem(CONTESTANTS, "peer", Contestant("peer", "", "torch"))
    broken = "peer"
    assert step.checked(["ours", "peer"], path, 1, start) == ["ours"]
    assert "peer is left out: no compiler" in capsys.readouterr().err
    broken = "ours"
    with pytest.raises(Failed):
        step.checked(["ours"], path, 1, start)


def figures(ms, peak, cores=1.0):
    """Three rounds, of which the last was slow for everyone."""
    return {
        "ms": [ms, ms, 3 * ms],
        "fastest": [ms / 2] * 3,
        "peak": [peak] * 3,
        "grown": [peak / 2] * 3,
        "cores": [cores] * 3,
    }


RESULTS = {
    "S": {
        "ours": figures(15.0, 80.0),
        "by hand": figures(12.0, 80.0),
        "torch": figures(25.0, 320.0),
        "torch fused": figures(20.0, 320.0),
    }
}


def test_the_peer_is_the_faster_form_of_pytorch():
    assert step.peer_of(RESULTS["S"]) == "torch fused"
    assert step.peer_of({"ours": figures(1.0, 1.0)}) is None


def test_the_tables():
    assert (
        step.tables(RESULTS)
        == """\
| ours / | PyTorch | kernels by hand | PyTorch, MB |
| ------ | ------: | --------------: | ----------: |
| S      |    0.75 |            1.25 |        0.25 |

Our time divided by theirs, and last the peak memory of the whole process by PyTorch's.

### S: V 96, T 32, B 32, D 64, L 2, H 4

|                      |   ms | fastest | ratio |   MB | ratio | MB grown | cores |
| -------------------- | ---: | ------: | ----: | ---: | ----: | -------: | ----: |
| ours                 | 15.0 |    7.50 |  0.75 | 80.0 |  0.25 |     40.0 |  1.00 |
| kernels by hand      | 12.0 |    6.00 |  0.60 | 80.0 |  0.25 |     40.0 |  1.00 |
| PyTorch              | 25.0 |    12.5 |  1.25 |  320 |  1.00 |      160 |  1.00 |
| PyTorch, fused AdamW | 20.0 |    10.0 |  1.00 |  320 |  1.00 |      160 |  1.00 |

Ratios are to PyTorch, fused AdamW, the faster of the two.

The engine adds +25.0% to the time of its kernels called by hand."""
    )


def test_our_workers_have_a_line_of_their_own():
    results = {"A": {**RESULTS["S"], "ours, shared": figures(10.0, 160.0)}}
    assert step.tables(results).startswith(
        "| ours /       | PyTorch | kernels by hand | PyTorch, MB |\n"
        "| ------------ | ------: | --------------: | ----------: |\n"
        "| A            |    0.75 |            1.25 |        0.25 |\n"
        "| A, 2 workers |    0.50 |            0.83 |        0.50 |\n"
    )


def test_without_pytorch_there_are_no_ratios():
    text = step.tables({"S": {"ours": figures(15.0, 80.0)}})
    assert "| ours | 15.0 |    7.50 |       | 80.0 |       |     40.0 |  1.00 |" in text
    assert "Ratios" not in text


def test_times_of_a_busy_machine_are_marked():
    busy = {"S": {"ours": figures(15.0, 80.0, cores=0.7)}}
    assert "not to be trusted" in step.tables(busy)
    assert "not to be trusted" not in step.tables(RESULTS)


def test_a_table_fits_the_screen():
    for apart in ("bare", "ours, shared"):  # on one thread, and on two
        names = [name for name in CONTESTANTS if name != apart]
        everyone = {"D": {name: figures(2345.6, 1234.5) for name in names}}
        assert max(map(len, step.tables(everyone).splitlines())) <= 100
