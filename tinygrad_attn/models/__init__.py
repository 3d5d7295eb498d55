"""Whole models, one readable file each."""

from .cache import KVCache
from .generate import evaluating, generate, stream
from .gpt import GPT, GPTConfig

__all__ = ["GPT", "GPTConfig", "KVCache", "evaluating", "generate", "stream"]
