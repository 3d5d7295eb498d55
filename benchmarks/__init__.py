"""Speed and memory beside the peers: ``python -m benchmarks``.

Every figure is a ratio. We and each peer that is installed compute the same thing in processes of
their own, in turn, so that neither the drift of the machine nor the other's threads can favour one;
the median of the rounds counts, and what both computed is compared before any time is believed.
"""
