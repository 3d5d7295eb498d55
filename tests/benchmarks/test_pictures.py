"""The pictures show every contestant and every length."""

from benchmarks import attention, pictures
from benchmarks.contestants import CONTESTANTS


def test_bars_with_numbers_and_the_longest_cut_off():
    by_name = {name: {"ms": [20.0], "peak": [100.0]} for name in CONTESTANTS}
    by_name["hips"]["ms"] = [200.0]
    left, right = pictures.draw_step({"S": by_name}).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        contestant.title for contestant in CONTESTANTS.values()
    ]
    assert [bar.get_width() for bar in left.patches] == [20.0] * (len(CONTESTANTS) - 1) + [50.0]
    assert left.texts[-1].get_text() == "200 → "
    assert [bar.get_width() for bar in right.patches] == [100.0] * len(CONTESTANTS)


def test_without_pytorch_nothing_is_cut_off():
    by_name = {"ours": {"ms": [20.0], "peak": [1.0]}, "hips": {"ms": [200.0], "peak": [1.0]}}
    left, _ = pictures.draw_step({"S": by_name}).axes
    assert [bar.get_width() for bar in left.patches] == [20.0, 200.0]


def test_a_curve_for_each_path():
    results = {
        name: {
            attention.figure_name(*case, unit): [1.0]
            for case in attention.cases(name)
            for unit in ("ms", "MB")
        }
        for name in ("ours", "torch")
    }
    time, memory = pictures.draw_attention(results).axes
    lengths = next(iter(attention.SHAPES.values()))
    assert [len(line.get_xdata()) for line in time.lines] == [len(lengths), 5, len(lengths)]
    assert [text.get_text() for text in memory.get_legend().texts] == [
        "ours",
        "ours, spec",
        "PyTorch",
    ]
    only_ours = pictures.draw_attention({"ours": results["ours"]})
    assert len(only_ours.axes[0].lines) == 2
