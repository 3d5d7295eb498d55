"""What the next token costs with a cache, in milliseconds, by how many came before it.

Without a cache the whole text would run again for each token. With one, a step computes a single
query; only its scores against the keys so far grow with the text, and they are a small part.
"""

import json
import time
from statistics import median

import tinygrad_attn as ta

from .report import table
from .rounds import collect, run

__all__ = ["TITLE", "measure", "tables"]

TITLE = "The next token with a cache: a GPT of 4 layers of 128"
CONTEXT, BEFORE, STEPS = 1024, (0, 64, 256, 1000), 20


def measure(options):
    """{contestant: {figure: [ms, one a round]}}; no peer keeps a cache without more code."""
    start = ("benchmarks.generation",)
    return collect(["ours"], options.rounds, lambda name: run(*start, threads=options.threads))


def tables(results):
    """One row for each length of what came before."""
    return table(results, "ms a token")


def main():
    """Print {how many came before: ms a token} as JSON."""
    ta.manual_seed(0)
    config = ta.models.GPTConfig(96, CONTEXT, n_layer=4, n_head=4, n_embd=128)
    model = ta.models.GPT(config)
    model.eval()
    figures = {}
    with ta.no_grad():
        for before in BEFORE:
            cache = model.new_cache(1)
            if before:
                model(ta.zeros(1, before, dtype="int64"), cache=cache)
            token = ta.zeros(1, 1, dtype="int64")
            figures[f"after {before}"] = _ms(
                lambda cache=cache, token=token: model(token, cache=cache)
            )
    print(json.dumps(figures))


def _ms(step):
    """The median time of a step in ms."""
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return median(times) * 1e3


if __name__ == "__main__":
    main()
