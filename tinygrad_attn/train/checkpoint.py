"""Weights in a file: safetensors, with what the model needs to be built again in its metadata.

A checkpoint holds tensors by name and one *config*, a JSON object. The format has no code in it
that would run when it is opened, and other frameworks read it too. A file is written under another
name beside its place and then renamed, so that no crash leaves half a file where a whole one stood.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..core import Tensor
from ..data.files import reason, replacing
from ..errors import CheckpointError

__all__ = ["load_checkpoint", "save_checkpoint"]

_FORMAT = "tinygrad_attn 1"


def save_checkpoint(path: str | Path, tensors: dict[str, Tensor], config: dict) -> None:
    """Write ``tensors``, such as a ``state_dict()``, and ``config`` to ``path``, or nothing at all.

    Raises: DataError where ``path`` cannot be written.
    """
    arrays = {name: np.asarray(tensor.numpy(), order="C") for name, tensor in tensors.items()}
    contents = save(arrays, {"format": _FORMAT, "config": json.dumps(config)})
    with replacing(path) as temporary:
        temporary.write_bytes(contents)


def load_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays, by name, and the config of a file that ``save_checkpoint`` wrote.

    Raises: CheckpointError for a file that is missing, damaged, or another program's.
    """
    try:
        with (
            open(path, "rb"),
            safe_open(path, framework="numpy") as file,
        ):  # open() has the clearer errors
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f'load_checkpoint: cannot read "{path}": {reason(error)}') from error
    except SafetensorError as error:
        raise CheckpointError(
            f'load_checkpoint: "{path}" is no safetensors file, or a damaged one: {error}'
        ) from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f'load_checkpoint: "{path}" was not written by save_checkpoint: its format is '
            f"{metadata.get('format')!r}, not {_FORMAT!r}"
        )
    return arrays, json.loads(metadata["config"])
