"""Speed on one GPU, beside PyTorch: ``python -m benchmarks.gpu report FOLDER``.

Each contestant computes in a process of its own, one after the other on the same card, and leaves
its figures behind as it goes, so that one that fails or takes too long loses its own and no other.
``tests/gpu.sh`` calls this, after the tests.
"""

import json
import platform
import subprocess
import sys
import time
from datetime import date
from importlib import import_module, metadata, util
from pathlib import Path
from statistics import median

from . import gpu_attention

SECONDS = {"ours": 75, "torch": 60}  # that a contestant may take
STEPS = {  # name -> (V, T, layers, heads, width, batch)
    "step of sort_digits, float32": (10, 19, 2, 4, 48, 64),
    "step of char_gpt, float32": (96, 64, 2, 4, 128, 32),
    "step of GPT-2 small's shape, TF32": (50257, 1024, 12, 12, 768, 8),
    "step of GPT-2 small's shape, mixed with float16": (50257, 1024, 12, 12, 768, 8),
}
ROWS, WIDTH = 131072, 1024  # half a gigabyte: the host is not what takes the time
PASSES = {  # name -> how many arrays of that size it must read or write
    **dict.fromkeys(("softmax", "layer_norm", "rms_norm", "gelu", "dropout"), 2),
    "cross_entropy": 1,
    "cross_entropy, back": 2,
    "swiglu": 3,
    **dict.fromkeys(("softmax, back", "layer_norm, back", "rms_norm, back", "gelu, back"), 3),
}
ENOUGH = 0.8  # of the speed of a copy


def main(arguments):
    """``report FOLDER``, or, in a process of its own, ``ours FILE`` or ``torch FILE``."""
    what, target = arguments
    if what == "report":
        report(Path(target))
        return
    contestant = {"ours": "benchmarks.gpu_ours", "torch": "benchmarks.gpu_torch"}[what]
    measure(import_module(contestant), Path(target))


def measure(contestant, file):
    """Measure all that ``contestant`` can do, writing every figure down at once."""
    figures = {}

    def note(name, work, scale=1e3):
        try:
            figures[name] = scale * seconds(work(), contestant.synchronize)
        except Exception as error:  # one figure less; the report says why
            figures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
        file.write_text(json.dumps(figures), encoding="utf-8")

    note("copy", lambda: contestant.copy(ROWS, WIDTH))
    for name in PASSES:
        note(name, lambda name=name: contestant.op(name, ROWS, WIDTH))
    for name, sizes in STEPS.items():
        kinds = {"tf32": "TF32" in name, "is_mixed": "float16" in name}
        note(name, lambda sizes=sizes, kinds=kinds: contestant.step(*sizes, **kinds))


def seconds(work, synchronize, longest=4.0):
    """The median time of one call, of runs of ten after a few to warm up."""
    for _ in range(3):
        work()
    synchronize()
    times, end = [], time.perf_counter() + longest
    while len(times) < 10 and (len(times) < 3 or time.perf_counter() < end):
        start = time.perf_counter()
        for _ in range(10):
            work()
        synchronize()
        times.append((time.perf_counter() - start) / 10)
    return median(times)


# ---- the report ----------------------------------------------------------------------------------


def report(folder):
    """Measure both contestants; write report.json and report.md from this and what tests left."""
    figures = {name: run(name, folder) for name in SECONDS}
    found = {
        "date": str(date.today()),
        "commit": left(folder, "commit.txt", "unknown"),
        "card": left(folder, "card.txt", "unknown"),
        "versions": versions(),
        "tests": left(folder, "tests.txt", "not run"),
        "sanitizer": left(folder, "sanitizer.txt", "not run"),
        "milliseconds": figures,
        "attention": json.loads(left(folder, "attention.json", "{}")),
    }
    (folder / "report.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(page(found), encoding="utf-8")


def run(contestant, folder):
    """{figure: ms, or why there is none} of one contestant, as far as it came in its time."""
    if contestant == "torch" and util.find_spec("torch") is None:
        return {}
    file = folder / f"{contestant}.json"
    command = [sys.executable, "-m", "benchmarks.gpu", contestant, str(file)]
    try:
        subprocess.run(command, timeout=SECONDS[contestant], check=False)
    except subprocess.TimeoutExpired:
        print(f"benchmarks.gpu: {contestant} was stopped after {SECONDS[contestant]} s")
    return json.loads(left(folder, file.name, "{}"))


def left(folder, name, otherwise):
    """What an earlier step has written into a file, or ``otherwise``."""
    path = folder / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else otherwise


def versions():
    """{package: version} of all that could matter."""
    names = ("numpy", "cupy-cuda13x", "cupy-cuda12x", "torch")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def page(found):
    """The report as Markdown."""
    software = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"Seen on {found['date']} at commit {found['commit']} on {found['card']}; {software}.",
        "",
        f"Tests: {found['tests']}. compute-sanitizer: {found['sanitizer']}.",
        "",
        "| | ours, ms | PyTorch, ms | ours / PyTorch | of the card's copy speed |",
        "|---|---|---|---|---|",
    ]
    ours, theirs = (found["milliseconds"].get(name, {}) for name in ("ours", "torch"))
    for name, mine in ours.items():
        other = theirs.get(name)
        ratio = f"{mine / other:.2f}" if both_numbers(mine, other) else ""
        speed = share(name, ours)
        speed = "" if speed is None else f"{speed:.0%}"
        lines.append(f"| {name} | {cell(mine)} | {cell(other)} | {ratio} | {speed} |")
    slow = [name for name in PASSES if (share(name, ours) or 1) < ENOUGH]
    lines += [
        "",
        f"Below {ENOUGH:.0%} of a copy's speed: {', '.join(slow) or 'none that was seen'}.",
    ]
    if found["attention"]:
        lines += ["", "Attention: " + gpu_attention.page(found["attention"])]
    return "\n".join(lines) + "\n"


def cell(figure):
    """A number of milliseconds, nothing, or the reason why there is none."""
    return "" if figure is None else figure if isinstance(figure, str) else f"{figure:.4g}"


def both_numbers(*figures):
    """Whether all of these were measured."""
    return all(isinstance(figure, float) for figure in figures)


def share(name, figures):
    """How fast an op moves what it must read and write, against a copy, which moves both ways."""
    if name not in PASSES or not both_numbers(figures.get(name), figures.get("copy")):
        return None
    return PASSES[name] / 2 * figures["copy"] / figures[name]


if __name__ == "__main__":
    main(sys.argv[1:])
