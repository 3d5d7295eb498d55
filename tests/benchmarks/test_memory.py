"""What a graph keeps alive is counted once, and parameters are not counted."""

import json
import math

import numpy as np

import tinygrad_attn as ta
from benchmarks import memory
from benchmarks.contestants import CONTESTANTS


def test_arrays_are_found_behind_views_closures_and_containers():
    buffer, kept, foreign = np.zeros(100), np.ones(7), np.ones(5)

    def backward(g, default=kept[2:]):
        return g * buffer[3:].reshape(1, -1)[0] + default + foreign

    def with_closure():
        inner = buffer
        return lambda g: g * inner

    root = {"views": [buffer[:50], buffer[50:]], "ways": (backward, with_closure())}
    found = memory.arrays_behind(root, without=[foreign])
    assert sorted(array.size for array in found.values()) == [7, 100]


def test_a_graph_keeps_what_its_rules_ask_for():
    x = ta.tensor(np.ones(1000, "float32"), requires_grad=True)
    owners = memory.arrays_behind(x.exp().sum(), [x.data])
    large = [array.size for array in owners.values() if array.size > 1]
    assert large == [1000]  # the exponential keeps its output, the sum only a shape


def test_the_step_keeps_more_than_its_logits(problem):
    run = CONTESTANTS["ours"].build(problem, 1)
    V, T, B = problem.sizes[:3]
    assert memory.SAVED["ours"](run) > 4 * B * T * V


def test_what_is_lost_is_only_asked_of_small_models(path, capsys):
    memory.main("ours", path, "1", "2")
    memory.main("ours", path, "1", "0")
    with_steps, without = map(json.loads, capsys.readouterr().out.splitlines())
    assert math.isfinite(with_steps["lost"]) or math.isnan(memory.resident_mb())
    assert math.isnan(without["lost"])
    assert 0 < without["saved"] < without["peak"]


def test_a_row_for_each_contestant():
    results = {
        "S": {
            "ours": {"peak": 80.0, "saved": 20.0, "lost": 0.0},
            "torch": {"peak": 320.0, "saved": 25.0, "lost": 100.0},
        }
    }
    assert memory.tables(results) == (
        "|   |         | peak, MB | ratio | saved, MB | ratio | lost, B a step |\n"
        "| - | ------- | -------: | ----: | --------: | ----: | -------------: |\n"
        "| S | ours    |     80.0 |  0.25 |      20.0 |  0.80 |           0.00 |\n"
        "| S | PyTorch |      320 |  1.00 |      25.0 |  1.00 |            100 |"
    )
