"""What the checker has to say: findings, and the list of what was looked at."""

from dataclasses import dataclass, field

__all__ = ["Check", "Finding", "Report", "number"]

LONGEST_REPR = 230  # pytest cuts the middle out of anything longer


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that could not be checked."""

    kind: str
    """In a word or two: "wrong derivative", "kink", "not deterministic"."""

    message: str
    """What, in a sentence."""

    op: str = ""
    """The op that made the output, and through which ops it came."""

    argument: str = ""
    """The input concerned, by the name of the function's parameter."""

    index: tuple[int, ...] | None = None
    """Its worst element."""

    gradient: float | None = None
    """There: the derivative that the engine computed."""

    expected: float | None = None
    """There: the derivative found without it."""

    cause: str = ""
    """What would explain it, where something simple does."""

    def __str__(self):
        lines = [f"{self.kind}: {self.message}"]
        if self.cause:
            lines.append(f"    likely cause: {self.cause}")
        if self.op:
            lines.append(f"    op: {self.op}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Check:
    """One line about something that was looked at."""

    what: str
    how: str


@dataclass
class Report:
    """The result of a check: true if all is well, and a text that says what is not.

    ``print(report)`` shows all of it, ``repr`` one line for the pytest of ``assert
    ta.gradcheck(...)``; ``report.findings`` is the same for programs.
    """

    name: str
    order: int = 1
    findings: list[Finding] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    sweep: object = None

    @property
    def passed(self):
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self):
        return self.passed

    def __repr__(self):
        if self.passed:
            checks = _count(len(self.checks), "check")
            return f"<gradcheck of {self.name} passed: order {self.order}, {checks}>"
        first = self.findings[0]
        cause = f" (likely cause: {first.cause})" if first.cause else ""
        text = f"<gradcheck of {self.name} FAILED: {first.kind}{cause}: {first.message}"
        more = f"; and {_count(len(self.findings) - 1, 'other')}" if len(self.findings) > 1 else ""
        return _shortened(text, LONGEST_REPR - len(more)) + more + ">"

    def __str__(self):
        verdict = "passed" if self.passed else f"FAILED, {_count(len(self.findings), 'finding')}"
        lines = [f"gradcheck of {self.name}: {verdict}"]
        for i, finding in enumerate(self.findings, 1):
            lines += ["", f"{i:2d}. {finding}"]
        lines.append("")
        width = max((len(check.what) for check in self.checks), default=0)
        lines += [f"    {check.what:<{width}}  {check.how}" for check in self.checks]
        return "\n".join([*lines, *(["", str(self.sweep)] if self.sweep else [])])


def number(value, digits=6):
    """A number as short as it stays clear."""
    return f"{value:.{digits}g}"


def _count(n, thing):
    return f"{n} {thing}" + "s" * (n != 1)


def _shortened(text, length):
    return text if len(text) <= length else text[: length - 1] + "…"
