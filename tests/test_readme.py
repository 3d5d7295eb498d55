"""README.md and CONTRIBUTING.md: their code prints what it says, and what they name exists."""

import re
from pathlib import Path

import pytest

import tinygrad_attn as ta

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """The code blocks of a page that are written in ``language``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for found, code in BLOCK.findall(text) if found == language]


@pytest.mark.parametrize("page", PAGES)
def test_python_prints_what_it_says(page, capsys):
    ta.manual_seed(0)
    code = "".join(blocks(page, "python"))
    exec(compile(code, page, "exec"), {"__name__": "__main__"})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert said
    assert capsys.readouterr().out.splitlines() == said


def test_the_taste_is_ten_lines_and_an_import():
    taste = [line for line in blocks("README.md", "python")[0].splitlines() if line]
    assert taste[0] == "import tinygrad_attn as ta"
    assert len(taste) == 11


def test_two_commands_set_everything_up():
    commands = re.findall(
        r"^<!-- command: (\w+) -->\n```sh\n(.*?)```$", README, re.MULTILINE | re.DOTALL
    )
    assert [name for name, _ in commands] == ["train", "test"]
    for _, command in commands:
        assert re.fullmatch(r"python3 -m venv \.venv && [^\n]+\n", command)


def test_the_map_shows_the_package_as_it_is():
    drawn, above = [], []
    for line in re.search(r"<!-- map -->\n```text\n(.*?)```", README, re.DOTALL)[1].splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        above = [*above[: len(indent) // 2], name]
        drawn.append("".join(above))
    missing = [path for path in drawn if not (ROOT / path).exists()]
    assert not missing, "the map shows what is not there"
    parts = [path for path in (ROOT / "tinygrad_attn").iterdir() if not path.name.startswith("_")]
    hidden = [
        path.name
        for path in parts
        if f"tinygrad_attn/{path.name}{'/' if path.is_dir() else ''}" not in drawn
    ]
    assert not hidden, "the map does not show what is there"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
