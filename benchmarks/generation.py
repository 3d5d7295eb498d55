"""What the next token costs with a cache, in milliseconds, by how many came before it.

Without a cache the whole text would run again for each token. With one, a step computes a single
query; only its scores against the keys so far grow with the text, and they are a small part.
"""

import json
import sys
import time
from statistics import median

CONTEXT, BEFORE, STEPS = 1024, (0, 64, 256, 1000), 20


def ours():
    """{how many came before: ms a token}."""
    import tinygrad_attn as ta

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
            figures[f"after {before}"] = _steps(
                lambda c=cache: model(ta.zeros(1, 1, dtype="int64"), cache=c)
            )
    return figures


def _steps(step):
    """The median time of a step in ms."""
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return median(times) * 1e3


if __name__ == "__main__":
    contestant = sys.argv[1]
    print(json.dumps(ours() if contestant == "ours" else {}))
