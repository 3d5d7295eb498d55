"""Files are written whole or not at all."""

import sys

import pytest

from tinygrad_attn.data import check_writable, replacing
from tinygrad_attn.errors import DataError


def test_what_was_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_asking_whether_a_file_can_be_written_changes_nothing(tmp_path):
    path = tmp_path / "file.txt"
    check_writable(path)
    assert not list(tmp_path.iterdir())
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write(path):
    with replacing(path) as temporary:
        temporary.write_text("new")


@pytest.mark.parametrize("place", ["missing/file", "occupied/file", "folder"])
@pytest.mark.parametrize("ask", [check_writable, write])
def test_places_where_no_file_can_be_written(tmp_path, place, ask):
    (tmp_path / "occupied").write_text("a file, not a folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f'cannot write ".*{place}": .'):
        ask(tmp_path / place)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no device files")
def test_a_device_is_not_replaced():
    with pytest.raises(DataError, match="no ordinary file"):
        check_writable("/dev/null")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets few users make links")
def test_a_link_goes_on_pointing_to_the_file(tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
