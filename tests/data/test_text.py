"""Text: files that cannot be read, characters to numbers and back, and windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_attn.data import CharVocabulary, TextWindows, default_text, read_text, split_text
from tinygrad_attn.errors import DataError

# ---- files ---------------------------------------------------------------------------------------


def test_utf8_is_read_whatever_its_line_ends(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffgrün\r\n字\n".encode())
    assert read_text(path) == "grün\n字\n"


@pytest.mark.parametrize(
    "contents, message",
    [
        (None, "cannot read .*: No such file"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"caf\xe9 noir", "not UTF-8: byte 0xe9 at position 3"),
        ("grün".encode("utf-16"), "not UTF-8: byte 0xff at position 0"),
    ],
)
def test_what_is_no_text_is_an_error_that_says_why(tmp_path, contents, message):
    path = tmp_path / "text.txt"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(DataError, match=message):
        read_text(path)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_text(tmp_path)


def test_the_text_on_board_is_long_and_repeats_no_paragraph():
    text = default_text()
    paragraphs = text.split("\n\n")
    assert len(text) > 200_000
    assert len(set(paragraphs)) == len(paragraphs)


# ---- vocabulary ----------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_decoding_undoes_encoding(text):
    vocabulary = CharVocabulary.of(text)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int64
    assert vocabulary.decode(ids) == text
    assert len(vocabulary) == len(set(text))


def test_numbers_are_places_in_the_characters_even_unsorted():
    vocabulary = CharVocabulary("zax")
    assert vocabulary.encode("axz").tolist() == [1, 2, 0]
    assert vocabulary.decode([1, 2, 0]) == "axz"
    assert vocabulary.encode("").tolist() == []


@pytest.mark.parametrize("text, place", [("abd", "'d' at position 2"), ("éa", "'é' at position 0")])
def test_an_unknown_character_is_named(text, place):
    with pytest.raises(DataError, match=f"{place} is none of the 3 characters known.*'abc'"):
        CharVocabulary("abc").encode(text)


@pytest.mark.parametrize("ids", [[3], [-1], [0, 7]])
def test_a_number_without_a_character_is_an_error(ids):
    with pytest.raises(DataError, match=r"numbered 0\.\.2"):
        CharVocabulary("abc").decode(ids)


@pytest.mark.parametrize("characters", ["", "aba"])
def test_a_vocabulary_has_each_character_once(characters):
    with pytest.raises(DataError, match="none twice"):
        CharVocabulary(characters)


def test_vocabularies_are_equal_by_their_characters():
    assert CharVocabulary.of("cab") == CharVocabulary("abc") != CharVocabulary("cab")


# ---- windows -------------------------------------------------------------------------------------


def test_the_split_is_by_position():
    training, validation = split_text(np.arange(1000), context=20)
    np.testing.assert_array_equal(np.concatenate([training, validation]), np.arange(1000))
    assert len(validation) == 100


@given(st.integers(1, 40), st.integers(0, 300))
def test_both_sides_of_the_split_hold_a_window_or_it_is_an_error(context, extra):
    training, validation = split_text(np.arange(2 * (context + 1) + extra), context)
    assert len(TextWindows(training, context)) >= 1 <= len(TextWindows(validation, context))
    with pytest.raises(DataError, match=f"give at least {2 * (context + 1)}"):
        split_text(np.arange(2 * context + 1), context)


@given(st.integers(1, 12), st.integers(1, 150), st.integers(0, 5))
def test_an_epoch_reads_windows_side_by_side_each_once(context, extra, epoch):
    windows = TextWindows(np.arange(context + extra), context)
    rows = [windows.batch(1, seed=0, epoch=epoch, index=i) for i in range(windows.batches(1))]
    inputs = np.concatenate([x for x, _ in rows])
    targets = np.concatenate([y for _, y in rows])
    np.testing.assert_array_equal(targets, inputs + 1)
    assert len(np.unique(inputs)) == inputs.size == len(windows) * context
    assert inputs.max() - inputs.min() == inputs.size - 1
    assert inputs.size > extra - 1 - context  # less than one window is left out at each end


def test_each_epoch_cuts_elsewhere():
    windows = TextWindows(np.arange(1000), 50)
    first = [windows.batch(1, seed=0, epoch=e, index=0)[0][0, 0] % 50 for e in range(8)]
    assert len(set(first)) > 1


def test_a_batch_of_windows_is_a_function_of_its_address():
    windows = TextWindows(np.arange(1000), 10)
    batch = windows.batch(4, seed=1, epoch=1, index=2)
    windows.batch(4, seed=1, epoch=5, index=0)
    np.testing.assert_array_equal(windows.batch(4, seed=1, epoch=1, index=2), batch)
    assert (windows.batch(4, seed=2, epoch=1, index=2)[0] != batch[0]).any()


def test_a_short_text_gives_a_short_batch():
    windows = TextWindows(np.arange(25), 10)
    assert windows.batches(32) == 1
    assert windows.batch(32, seed=0, epoch=0, index=0)[0].shape == (len(windows), 10)


def test_validation_reads_every_window_in_order():
    windows = TextWindows(np.arange(95), 10)
    batches = list(windows.in_order(4))
    assert [len(x) for x, _ in batches] == [4, 4]
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x, _ in batches]), np.arange(80))


@pytest.mark.parametrize("context, size, index", [(10, 0, 0), (10, 1, 99), (10, 1, -1)])
def test_a_batch_that_is_not_there_is_an_error(context, size, index):
    with pytest.raises(DataError, match=f"batch {index} of size {size}"):
        TextWindows(np.arange(50), context).batch(size, seed=0, epoch=0, index=index)


@pytest.mark.parametrize("length, context", [(10, 10), (0, 1), (5, 0)])
def test_a_window_must_fit(length, context):
    with pytest.raises(DataError, match=f"{length} tokens, context {context}"):
        TextWindows(np.arange(length), context)
