"""Every Python block in the chapters of ``docs/`` runs, in order, as it stands."""

import re
from pathlib import Path

import pytest

CHAPTERS = sorted(Path(__file__).parents[1].glob("docs/*.md"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_blocks_run(chapter):
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", chapter.read_text("utf-8"), re.M | re.S):
        exec(compile(block, chapter.name, "exec"), names)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_links_lead_somewhere(chapter):
    for target in re.findall(r"\]\(([^)#:]+)\)", chapter.read_text("utf-8")):
        assert (chapter.parent / target).exists(), target
