"""Whole models, one readable file each."""

from .beam import beam_search
from .cache import KVCache
from .generate import generate, stream
from .gpt import GPT, GPTConfig
from .texts import evaluating

__all__ = ["GPT", "GPTConfig", "KVCache", "beam_search", "evaluating", "generate", "stream"]
