"""Speed and memory beside the peers: ``python -m benchmarks``.

Every figure is a ratio. We and each peer that is installed compute the same thing in processes of
their own, in turn, so that neither the drift of the machine nor the other's threads can favour one;
the median of the rounds counts, and what was computed is compared before any time is believed.

    __main__   the command, and the list of benchmarks
    step …     one benchmark each: TITLE, measure(options), tables(results), perhaps draw(results)
    contestants/   who takes part in ``step`` and ``memory``, one readable file each
    check      refuses those who compute something else
    rounds     processes in turn, with the same number of threads
    resident   how much memory a process has
    report     tables, the machine, the page in docs/;  pictures  the drawings
"""
