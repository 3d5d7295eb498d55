"""What a training step asks of whatever connects its ranks, and nothing more.

A run on several processes is the same program in each of them; a process knows itself by its
*rank*, one of 0..size−1. Ranks meet in *collective* operations: everyone calls the same one, in the
same order, with an array of the same size and type. Rank 0 is the one that the user started.
"""

import numpy as np

__all__ = ["Alone", "Communicator"]


class Communicator:
    """The ranks of one run, as one of them sees them.

    Its arrays are flat, and come from ``zeros``: each rank asks for the same ones in the same
    order, so that wherever ranks share memory they can read one another's without a copy.
    """

    rank = 0
    """Which of the ranks this is."""

    size = 1
    """How many there are."""

    def zeros(self, count: int, dtype, common: bool = False) -> np.ndarray:
        """An array to exchange; a ``common`` one is to be broadcast only.

        What rank 0 writes into a common array the others may see before the broadcast, which only
        tells them that it is whole: between two broadcasts nobody else may write.
        """
        return np.zeros(count, dtype)

    def broadcast(self, array: np.ndarray) -> None:
        """Replace every rank's ``array`` by that of rank 0, in place."""
        raise NotImplementedError

    def all_reduce_mean(self, array: np.ndarray) -> None:
        """Replace every rank's ``array`` by the mean over all ranks, in place.

        The sum goes from rank 0 upwards, so that its bits depend on nobody's being early or late,
        and are the same everywhere.
        """
        raise NotImplementedError

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        raise NotImplementedError


class Alone(Communicator):
    """One rank, which has nobody to wait for: its arrays are the mean already."""

    def broadcast(self, array):
        """Nothing to do."""

    def all_reduce_mean(self, array):
        """Nothing to do."""

    def barrier(self):
        """Nothing to do."""
