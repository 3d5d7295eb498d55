"""Randomness with an address: the same address, the same numbers, in any order of asking."""

import numpy as np
import pytest

from tinygrad_attn.data import epoch_order, generator
from tinygrad_attn.errors import DataError


def test_equal_addresses_give_equal_numbers_and_others_give_others():
    addresses = [(0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (0, 0, 1)]
    drawn = {address: tuple(generator(*address).integers(0, 1000, 8)) for address in addresses}
    assert len(set(drawn.values())) == len(addresses)
    for address in reversed(addresses):
        assert tuple(generator(*address).integers(0, 1000, 8)) == drawn[address]


@pytest.mark.parametrize("address", [(-1,), (0, -2), (1.5,), (None,), ("0",)])
def test_an_address_counts_from_zero(address):
    with pytest.raises(DataError, match="whole number"):
        generator(*address)


def test_every_epoch_meets_every_example_once_in_an_order_of_its_own():
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == len(orders)
    np.testing.assert_array_equal(epoch_order(50, 0, 0), orders[0])


def test_a_remembered_order_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(10, 0, 0)[0] = 5
