"""A profile as tables: its spans added up by op and by module, and set in columns."""

from collections import Counter
from typing import NamedTuple

from ..errors import DTypeError

__all__ = ["Row", "add_up", "module_table", "op_table", "page"]

WIDTH = 21  # of the first column; with the others a line has 80
TIMES = (("µs", 1e6, 1), ("ms", 1e3, 2), ("s", 1, 3))  # unit, how many make one, decimals
SIZES = (("bytes", 1, 0), ("kB", 1e-3, 1), ("MB", 1e-6, 1))
OUTSIDE = "(outside of modules)"


class Row(NamedTuple):
    """One line of a table; all but ``total`` may be added up."""

    calls: int = 0
    """How often it ran forward."""

    forward: float = 0.0
    """Seconds of its own on the way forward."""

    backward: float = 0.0
    """Seconds of its own on the way back."""

    self: float = 0.0
    """Seconds of its own: forward, backward and steps, without what ran inside."""

    total: float = 0.0
    """Seconds with all that ran inside."""

    saved: int = 0
    """Bytes that it was the first to keep for the way back."""


def add_up(profile, by_module, depth=None):
    """{name: Row} of the ops, or of the modules; see ``Profile.ops`` and ``Profile.modules``."""
    spans = [span for span in profile.spans if span.kind != "module"]
    sums, inside = {}, Counter()  # name -> {column: sum}; span -> time of those directly inside it
    for span in profile.spans:
        if span.kind != "module":
            inside[span.inside] += span.end - span.start
        elif by_module and (depth is None or len(span.home) <= depth + 1):
            sums.setdefault(span.name, Counter())["calls"] += 1
    for span in spans:
        chain = _ops_around(span)
        names = _place(span.home, depth) if by_module else [each.name for each in chain]
        own = (span.end - span.start - inside[span]) / 1e9
        for name in dict.fromkeys(names):
            sums.setdefault(name, Counter())["total"] += own
        sums[names[-1]].update({"self": own, chain[0].kind: own})
        if not by_module:
            sums[names[-1]]["calls"] += span.kind != "backward"
    for (op, home), size in profile.saved.bytes.items():
        name = _place(home, depth)[-1] if by_module else op
        sums.setdefault(name, Counter())["saved"] += size
    return {
        name: Row(**{column: found[column] for column in Row._fields if column in found})
        for name, found in sums.items()
    }


def _ops_around(span):
    """The ops that a span is inside of, outermost first, and itself."""
    chain = []
    while span is not None:
        chain.append(span)
        span = span.inside
    return chain[::-1]


def _place(home, depth):
    """The paths at which something of these modules counts."""
    return home[: None if depth is None else depth + 1] or ("",)


# ---- in columns ----------------------------------------------------------------------------------


def op_table(profile, sort="self", limit=None):
    """See ``Profile.op_table``."""
    rows = _sorted("op_table", profile.ops, sort)
    if limit is not None and len(rows) > limit + 1:
        rest = [row for _, row in rows[limit:]]
        rows = [*rows[:limit], (f"{len(rest)} others", _sum(rest))]
    return _set("op", rows, profile)


def module_table(profile, sort=None, depth=None):
    """See ``Profile.module_table``."""
    rows = add_up(profile, by_module=True, depth=depth)
    if sort is not None:
        named = [(path or OUTSIDE, row) for path, row in _sorted("module_table", rows, sort)]
    else:
        outside = [(OUTSIDE, rows.pop(""))] if "" in rows else []
        named = [(_indented(profile.homes[path]), row) for path, row in rows.items()] + outside
    return _set("module", named, profile)


def _indented(home):
    """The last path of ``home``, as far as it goes on from the one before, below that one."""
    path = home[-1].removeprefix(f"{home[-2]}.") if len(home) > 1 else home[-1]
    return "  " * (len(home) - 1) + path


def page(profile):
    """What to look at first: a summary, the ops that take longest, the modules."""
    return (
        f"{_summary(profile)}\n\n{op_table(profile, limit=12)}\n\n{module_table(profile, depth=2)}"
    )


def _summary(profile):
    """Two lines: where the time went, and what was saved."""
    unit, times = _unit(TIMES, profile.seconds)
    size_unit, sizes = _unit(SIZES, profile.saved.total)
    in_ops = sum(row.self for row in profile.ops.values())
    return (
        f"{times(profile.seconds)} {unit}: {times(in_ops)} in ops, "
        f"{times(profile.seconds - in_ops)} between them\n"
        f"{sizes(profile.saved.total)} {size_unit} saved for the way back, "
        f"at most {sizes(profile.saved.peak)} at once"
    )


def _sorted(where, rows, column):
    """(name, row) pairs, largest first in a column."""
    if column not in Row._fields:
        raise DTypeError(
            f"{where}: there is no column {column!r} to sort by; there are {', '.join(Row._fields)}"
        )
    return sorted(rows.items(), key=lambda item: getattr(item[1], column), reverse=True)


def _sum(rows):
    """Rows added up, all but the totals, which overlap."""
    return Row(*map(sum, zip(*rows)))._replace(total=0.0) if rows else Row()


def _unit(units, largest):
    """(the name of a unit for numbers up to ``largest``, a function that writes one in it)."""
    name, factor, digits = next(
        unit for unit in units if largest * unit[1] < 1e4 or unit is units[-1]
    )
    return name, lambda number: f"{number * factor:,.{digits}f}"


def _set(title, rows, profile):
    """The table: titles, units, a line for each row, and the sum of all."""
    everything = _sum([row for _, row in rows])
    time_unit, times = _unit(TIMES, profile.seconds)
    size_unit, sizes = _unit(SIZES, profile.saved.total)
    lines = [
        _line(title, *Row._fields[:4], "%", "total", "saved"),
        _line("", "", *[time_unit] * 3, "", time_unit, size_unit),
    ]
    for name, row in [*rows, ("all", everything)]:
        share = f"{100 * row.self / everything.self:.1f}" if row.self else ""
        written = [times(seconds) if seconds else "" for seconds in row[1:5]]
        lines.append(
            _line(
                name if len(name) < WIDTH else "…" + name[2 - WIDTH :],
                f"{row.calls:,}" if row.calls else "",
                *written[:3],
                share,
                written[3],
                sizes(row.saved) if row.saved else "",
            )
        )
    return "\n".join(lines)


def _line(name, calls, forward, backward, own, share, total, saved):
    """Eight cells, 80 columns."""
    return (
        f"{name:{WIDTH}}{calls:>7}{forward:>9}{backward:>9}{own:>9}{share:>6}{total:>9}{saved:>9}"
    ).rstrip()
