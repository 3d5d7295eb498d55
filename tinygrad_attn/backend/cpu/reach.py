"""Who reaches whom in attention on the CPU: the keys of a block of queries, and which are open."""

import numpy as np

__all__ = ["Reach"]

FEW = 4  # patterns of open pairs that are remembered


class Reach:
    """Which keys a block of queries may attend, by their positions."""

    def __init__(self, q_positions, k_positions, causal, window, queries, keys, bits):
        self.causal, self.window, self.keys = causal, window, keys
        self.bits = bits  # the dtype of whole numbers as wide as a score
        self.is_limited = causal or window is not None
        self.offset = None  # how far queries are ahead of keys, where both count on by one
        if self.is_limited:
            self.q = np.arange(keys - queries, keys) if q_positions is None else q_positions
            self.k = np.arange(keys) if k_positions is None else k_positions
            is_usual = q_positions is None and k_positions is None
            self.offset = keys - queries if is_usual else self._offset()
        self.is_prefix = self.offset is not None and causal and window is None
        self._known = {}

    def _offset(self):
        """``offset`` where the positions of both are consecutive numbers, or None."""
        for positions in (self.q, self.k):
            if positions.ndim > 1 or (positions[1:] - positions[:-1] != 1).any():
                return None
        return int(self.q[0]) - int(self.k[0])

    def columns(self, rows):
        """The stretch of keys that the queries ``rows`` reach."""
        if self.offset is None:
            return slice(0, self.keys)
        first, last = rows.start + self.offset, rows.stop - 1 + self.offset
        low = 0 if self.window is None else first - self.window + 1
        high = last + (1 if self.causal else self.window)
        low = min(max(low, 0), self.keys)
        return slice(low, max(min(high, self.keys), low))

    def allowed(self, rows, columns):
        """(a column with no closed pairs before it, bits of the columns from there on)."""
        if not self.is_limited:
            return 0, None
        start = columns.start
        if self.is_prefix:
            start = max(min(rows.start + self.offset + 1, columns.stop), start)
            if 2 * (start - columns.start) < columns.stop - columns.start:
                start = columns.start  # a few whole rows are faster than many pieces
        return start - columns.start, self._bits(rows, slice(start, columns.stop))

    def _bits(self, rows, columns):
        """All bits where a pair is open, none elsewhere; blocks equally far ahead share them."""
        if self.offset is None:
            return self._compare(rows, columns)
        ahead = rows.start + self.offset - columns.start
        key = ahead, rows.stop - rows.start, columns.stop - columns.start
        known = self._known  # another thread may replace it
        if key not in known:
            known = {} if len(known) == FEW else known
            self._known = known = {**known, key: self._compare(rows, columns)}
        return known[key]

    def _compare(self, rows, columns):
        """The same, worked out."""
        ahead = self.q[..., rows, None] - self.k[..., None, columns]
        allowed = ahead >= 0 if self.causal else np.ones(ahead.shape, bool)
        if self.window is not None:
            allowed &= np.abs(ahead) < self.window
        if allowed.ndim > 2:  # one row of positions for each sequence, alike for all its heads
            allowed = allowed[:, None, None]
        return -allowed.astype(self.bits)
