"""char_gpt: it learns from any text, keeps what it learned, refuses what it cannot use."""

import json
import re

import pytest
from safetensors.numpy import save

TEXT = "the cat sat on the mat and the dog sat on the log\n" * 40


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_quick_run_on_the_text_on_board(example):
    code, out, err = example("char_gpt", "--quick")
    assert code == 0
    assert re.search(r"[\d,]+ characters, \d+ different ones, from Python itself", out)
    assert re.search(
        r"4\.\d+ guessing all characters alike, 3\.\d+ guessing by their frequency", out
    )
    assert re.search(r"Validation loss after 20 steps: \d\.\d+ nats", out)
    assert re.search(r"step 10: \d\.\d+ nats a character in training, \d\.\d+ in validation", err)


def test_what_was_saved_writes_the_same_when_loaded(example, text, tmp_path):
    weights, picture = tmp_path / "gpt.safetensors", tmp_path / "loss.svg"
    options = ["--quick", "--text", text, "--prompt", "the "]
    code, out, _ = example("char_gpt", *options, "--save", weights, "--plot", picture)
    assert code == 0
    assert picture.exists()
    sample = out.partition("This is how it writes:\n\n")[2]
    assert sample.startswith("the ")
    assert len(sample) == len("the ") + 80 + len("\n")
    code, out, err = example("char_gpt", *options, "--load", weights, "--steps", 0)
    assert (code, err) == (0, "")
    assert out.partition("This is how it writes:\n\n")[2] == sample


def test_training_goes_on_from_loaded_weights(example, text, tmp_path):
    weights = tmp_path / "gpt.safetensors"
    options = ["--quick", "--text", text, "--steps", 60, "--save", weights]

    def loss(*more):
        return float(
            re.search(r"steps: (\d\.\d+) nats", example("char_gpt", *options, *more).out)[1]
        )

    first = loss()
    assert loss("--load", weights) < first


def test_workers_share_the_batch(example, text):
    alone, shared = (
        example("char_gpt", "--quick", "--text", text, "--workers", n).out for n in (1, 3)
    )
    losses = [float(re.search(r"steps: (\d\.\d+) nats", out)[1]) for out in (alone, shared)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


def test_any_characters_can_be_learned_and_written(example, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("春眠不覺曉 — смешно 🙂\r\n" * 20, encoding="utf-8")
    code, out, _ = example("char_gpt", "--quick", "--text", text, "--prompt", "曉🙂")
    assert code == 0
    assert "曉🙂" in out


@pytest.mark.parametrize(
    "contents, message",
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"too short", "has 9 characters, too few for a context of 32"),
        (b"caf\xe9" * 100, "is not UTF-8: byte 0xe9 at position 3"),
    ],
)
def test_a_text_that_cannot_be_used(example, tmp_path, contents, message):
    path = tmp_path / "text.txt"
    if contents is not None:
        path.write_bytes(contents)
    weights = tmp_path / "gpt.safetensors"
    code, out, err = example("char_gpt", "--quick", "--text", path, "--save", weights)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not weights.exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--prompt", "Zebra"], "encode: 'Z' at position 0 is none of the"),
        (["--prompt", ""], "argument --prompt: it is empty"),
        (["--save", "missing/gpt.safetensors"], 'cannot write "missing/gpt.safetensors"'),
        (["--load", "missing.safetensors"], 'cannot read "missing.safetensors"'),
        (["--steps", "0", "--plot", "loss.png"], "argument --plot: the picture shows the training"),
        (["--length", "-1"], "argument --length: '-1' is not a whole number"),
    ],
)
def test_flags_that_cannot_be_followed(example, text, flags, message):
    code, out, err = example("char_gpt", "--quick", "--text", text, *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def checkpoint(config, **arrays):
    return save(arrays, {"format": "tinygrad_attn 1", "config": json.dumps(config)})


@pytest.mark.parametrize(
    "contents, message",
    [
        (b"not weights at all", "no safetensors file, or a damaged one"),
        (save({}), "was not written by save_checkpoint"),
        (checkpoint({"bert": {}}), "holds something else than a GPT and its characters"),
        (
            checkpoint({"gpt": {"depth": 3}, "characters": "ab"}),
            "unexpected keyword argument 'depth'",
        ),
    ],
    ids=["no safetensors", "another program's", "another model's", "a newer GPT's"],
)
def test_weights_that_are_none(example, text, tmp_path, contents, message):
    weights = tmp_path / "gpt.safetensors"
    weights.write_bytes(contents)
    code, out, err = example("char_gpt", "--text", text, "--load", weights, "--steps", 0)
    assert (code, out) == (2, "")
    assert message in err


def test_loaded_weights_do_not_know_new_characters(example, text, tmp_path):
    weights, other = tmp_path / "gpt.safetensors", tmp_path / "other.txt"
    assert example("char_gpt", "--quick", "--text", text, "--save", weights).code == 0
    other.write_text(TEXT.upper(), encoding="utf-8")
    code, _, err = example("char_gpt", "--quick", "--text", other, "--load", weights)
    assert code == 2
    assert "encode: 'T' at position 0 is none of the" in err
