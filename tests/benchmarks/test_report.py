"""Tables, the page that holds them, and the line about the machine."""

import numpy as np
import pytest

from benchmarks import report


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1234.5, "1234"),
        (99.96, "100.0"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (-0.25, "-0.25"),
        (float("nan"), ""),
        (None, ""),
    ],
)
def test_a_figure_has_about_three_digits(number, text):
    assert report.figure(number) == text


def test_a_table_can_be_read_as_text():
    rows = [["ours", 12.34, "1.00"], ["PyTorch", 250.0, "20.26"]]
    assert report.markdown(["", "ms", "ratio"], rows) == (
        "|         |   ms | ratio |\n"
        "| ------- | ---: | ----: |\n"
        "| ours    | 12.3 |  1.00 |\n"
        "| PyTorch |  250 | 20.26 |"
    )


def test_ours_is_divided_by_each_peer():
    results = {
        "ours": {"add": [2.0, 1.0, 6.0], "dense": [7.0]},
        "torch": {"add": [4.0, 2.0, 12.0]},
    }
    assert report.table(results, "ms") == (
        "| ms    | ours | torch | ours / torch |\n"
        "| ----- | ---: | ----: | -----------: |\n"
        "| add   | 2.00 |  4.00 |         0.50 |\n"
        "| dense | 7.00 |       |              |"
    )


def test_we_alone_need_no_ratio():
    assert report.table({"ours": {"add": [3.0]}}, "ms").splitlines()[0] == "| ms  | ours |"


def test_the_machine_is_named_in_lines_that_fit():
    text = report.machine(threads=2, rounds=3)
    assert max(map(len, text.splitlines())) <= 100
    joined = text.replace("\n", " ")
    assert f"NumPy {np.__version__} on " in joined
    assert joined.endswith("2 threads each, median of 3 rounds in turn.")


def test_it_is_told_where_a_variable_picks_the_kernels_of_the_products(monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert "OPENBLAS_CORETYPE" not in report.machine(threads=1, rounds=1)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    monkeypatch.setattr(report, "blas_kernels", lambda: "Haswell")
    text = report.machine(threads=1, rounds=1).replace("\n", " ")
    assert "(Haswell; OPENBLAS_CORETYPE is Zen)" in text


def test_a_page_keeps_what_stands_around_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\nBefore.\n\n<!-- cmd -->\n\nold\n\n<!-- end -->\n\nAfter.\n", "utf-8"
    )
    for _ in range(2):
        report.put_in_page(page, "cmd", "new")
    assert page.read_text("utf-8") == (
        "# Title\n\nBefore.\n\n<!-- cmd -->\n\nnew\n\n<!-- end -->\n\nAfter.\n"
    )


def test_a_page_without_marks_gets_them_at_its_end(tmp_path):
    report.put_in_page(tmp_path / "page.md", "one", "1")
    report.put_in_page(tmp_path / "page.md", "two", "2")
    report.put_in_page(tmp_path / "page.md", "one", "3")
    assert (tmp_path / "page.md").read_text("utf-8") == (
        "# Benchmarks\n\n<!-- one -->\n\n3\n\n<!-- end -->\n\n<!-- two -->\n\n2\n\n<!-- end -->\n"
    )
