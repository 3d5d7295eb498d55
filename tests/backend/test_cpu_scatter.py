"""Rows added to places of a table on the CPU, against ``np.add.at`` in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_attn.backend.cpu.scatter import add_at

KINDS = {  # how the ids are spread over a table of so many rows -> n of them
    "evenly": lambda rng, rows, n: rng.integers(0, rows, n),
    "a few nearly always": lambda rng, rows, n: np.minimum(rng.zipf(1.5, n), rows) - 1,
    "always the same": lambda rng, rows, n: np.full(n, rows - 1),
    "each once": lambda rng, rows, n: rng.permutation(rows)[:n],
    "from the end": lambda rng, rows, n: -rng.integers(1, rows + 1, n),
}


@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    rows=st.sampled_from([1, 3, 50, 65536, 65537]),
    n=st.sampled_from([1, 2, 40, 500]),
    shape=st.sampled_from([(1,), (5,), (2, 3)]),
    seed=st.integers(0, 99),
)
def test_every_place_gets_the_sum_of_its_rows(kind, rows, n, shape, seed):
    rng = np.random.default_rng(seed)
    ids = KINDS[kind](rng, rows, n)
    values = rng.standard_normal((len(ids), *shape)).astype(np.float32)
    found = np.ones((rows, *shape), np.float32)
    expected, again = found.astype(np.float64), found.copy()
    add_at(found, ids, values)
    np.add.at(expected, ids, values.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    add_at(again, ids, values)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("at", [0, 60, 99])  # a row of the frequent place, and of others
def test_nan_stays_in_its_place(at):
    ids = np.concatenate([np.zeros(60, int), np.arange(40)])
    values, found = np.ones((100, 4), np.float32), np.zeros((40, 4), np.float32)
    values[at] = np.nan
    add_at(found, ids, values)
    assert (np.isnan(found).all(axis=1) == (np.arange(40) == ids[at])).all()
    assert np.isfinite(np.delete(found, ids[at], axis=0)).all()
