"""Checkpoints: what is loaded is what was saved, and nothing else is taken for it."""

import numpy as np
import pytest
from safetensors.numpy import save

import tinygrad_attn as ta
from tinygrad_attn.errors import CheckpointError, DataError
from tinygrad_attn.train import load_checkpoint, save_checkpoint

TENSORS = {
    "matrix": ta.tensor(np.arange(6.0).reshape(2, 3)),
    "transposed": ta.tensor(np.arange(6, dtype=np.float32).reshape(2, 3).T),
    "scalar": ta.tensor(3.5),
    "empty": ta.zeros((0, 4)),
    "whole": ta.tensor([1, -2]),
    "flags": ta.tensor([True, False]),
    "half": ta.ones(3, dtype="float16"),
}
CONFIG = {"sizes": {"width": 3}, "text": 'ümläut "quoted"\n', "none": None}


def test_tensors_and_config_come_back_as_they_were(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, TENSORS, CONFIG)
    arrays, config = load_checkpoint(path)
    assert config == CONFIG
    assert set(arrays) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert arrays[name].dtype == tensor.dtype
        assert arrays[name].shape == tensor.shape
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_a_model_comes_back_from_its_state_dict(tmp_path):
    path = tmp_path / "model.safetensors"
    first, second = ta.nn.Linear(3, 4), ta.nn.Linear(3, 4)
    save_checkpoint(str(path), first.state_dict(), {})
    second.load_state_dict(load_checkpoint(str(path))[0])
    for a, b in zip(first.parameters(), second.parameters()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_checkpoint_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "model.safetensors"
    for number in (1, 2):
        save_checkpoint(path, TENSORS, {"number": number})
    assert load_checkpoint(path)[1] == {"number": 2}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "contents, message",
    [
        (None, "cannot read .*: No such file"),
        (b"", "no safetensors file, or a damaged one"),
        (b"PK\x03\x04 a zip file, perhaps PyTorch's", "no safetensors file, or a damaged one"),
        (save({"a": np.zeros(3)}), "not written by save_checkpoint: its format is None"),
        (save({"a": np.zeros(3)}, {"format": "pt"}), "its format is 'pt'"),
    ],
)
def test_what_is_no_checkpoint_is_not_taken_for_one(tmp_path, contents, message):
    path = tmp_path / "model.safetensors"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("kept", [4, 20, 0.5, 0.99])
def test_a_file_cut_short_is_damaged(tmp_path, kept):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, TENSORS, CONFIG)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path)


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        save_checkpoint(tmp_path / "missing" / "model.safetensors", TENSORS, CONFIG)
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(tmp_path / "model.safetensors", TENSORS, {"no JSON": {1, 2}})
    assert not list(tmp_path.iterdir())
