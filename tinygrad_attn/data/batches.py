"""Batches as a pure function of (seed, epoch, index): randomness with an address, not a state.

A random generator that is carried from batch to batch makes every batch depend on all before it: to
resume at step 5,000, or to hand every second batch to another process, all of them must be drawn
again. Here each batch has an address, and its numbers are drawn from a generator seeded with that
address.
"""

from functools import lru_cache

import numpy as np

from ..errors import DataError

__all__ = ["epoch_order", "generator"]


def generator(*address: int) -> np.random.Generator:
    """A fresh generator for one address, such as (seed, epoch, index): always the same numbers.

    Raises: DataError for an address with a part that is no whole number ≥ 0.
    """
    for part in address:
        if not isinstance(part, (int, np.integer)) or part < 0:
            raise DataError(
                f"generator: {part!r} in the address {address} is not a whole number ≥ 0; "
                "seeds, epochs and indices count from 0"
            )
    return np.random.default_rng(
        (len(address), *address)
    )  # NumPy takes (1,) and (1, 0) for the same seed


@lru_cache(maxsize=2)
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch meets ``n`` examples: each once, shuffled anew for every epoch.

    The last two orders are remembered, read-only, so that a batch costs a slice and not a shuffle.
    """
    order = generator(seed, epoch).permutation(n)
    order.flags.writeable = False
    return order
