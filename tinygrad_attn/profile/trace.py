"""A profile along time, in the Trace Event Format that Perfetto and Chrome draw.

Reference: "Trace Event Format", the document of Chrome's tracing tools; https://ui.perfetto.dev.
"""

import json
import os
from itertools import groupby

from ..errors import DataError

__all__ = ["write_trace"]


def write_trace(profile, path):
    """See ``Profile.save_trace``."""
    trace = {"traceEvents": list(_events(profile)), "displayTimeUnit": "ms"}
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(trace, file, ensure_ascii=False)
    except OSError as error:
        raise DataError(f'save_trace: cannot write "{path}": {error.strerror or error}') from error


def _events(profile):
    """Names of process and thread, the slices by time, and the curve of the bytes saved."""
    start, place = profile.start, {"pid": os.getpid(), "tid": profile.thread}
    names = {"process_name": "tinygrad_attn", "thread_name": "profile"}
    for what, name in names.items():
        yield {"ph": "M", "name": what, **place, "args": {"name": name}}
    slices = [*_modules_of_gradients(profile.spans), *map(_slice, profile.spans)]
    slices.sort(key=lambda found: (found[0], -found[1]))  # stable: of two alike, the outer is first
    for begin, end, name, kind, arguments in slices:
        begin, end = _microseconds(begin - start), _microseconds(end - start)
        what = {"ph": "X", "name": name, "cat": kind, "ts": begin, "dur": end - begin}
        yield {**what, **place, "args": arguments}
    for when, size in profile.saved.levels:
        what = {"ph": "C", "name": "saved for the way back", "ts": _microseconds(when - start)}
        yield {**what, **place, "args": {"bytes": size}}


def _slice(span):
    """(start, end, name, kind, what to show when it is clicked on) of a span."""
    if span.kind == "module":
        return span.start, span.end, span.name, span.kind, {}
    arguments = {"module": span.home[-1]} if span.home else {}
    if span.shapes:
        arguments["operands"] = ", ".join(map(str, span.shapes))
    return span.start, span.end, span.name, span.kind, arguments


def _modules_of_gradients(spans):
    """Slices around the ops of the way back that belong to one module, outer modules first.

    No module runs then. But the walk meets the newest node first, so what was recorded inside one
    call of a module comes in one stretch, and the way back mirrors the way forward.
    """
    outermost = [span for span in spans if span.inside is None]
    for (kind, _), run in groupby(outermost, key=lambda span: (span.kind, span.outer)):
        if kind == "backward":
            yield from _stretches(list(run), 0)


def _stretches(spans, level):
    """A slice for each stretch of ``spans`` whose modules agree at ``level``, and those inside."""
    for path, run in groupby(spans, key=lambda span: span.home[level : level + 1]):
        if path:
            run = list(run)
            yield run[0].start, run[-1].end, f"{path[0]} (gradients)", "module", {}
            yield from _stretches(run, level + 1)


def _microseconds(nanoseconds):
    """In eighths, so that sums of floats are exact: what is nested stays nested to the last bit."""
    return nanoseconds // 125 / 8
