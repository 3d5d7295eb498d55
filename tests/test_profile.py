"""ta.profile: calls and bytes to the last one, times that add up, a trace that nests."""

import asyncio
import contextvars
import gc
import json
import re
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn import nn
from tinygrad_attn.core.graph import PLAIN, mode
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, clip_grad_norm_, clip_grad_value_

CHAPTER = Path(__file__).parents[1] / "docs" / "06-profiling.md"


def leaf(*shape, dtype="float32", device="cpu"):
    x = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(dtype)
    return ta.tensor(x).to(device).requires_grad_()


@pytest.fixture
def gpt():
    ta.manual_seed(0)
    return GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=16))


IDS = ta.tensor([[3, 1, 4, 1, 5]])


def loss_of(model):
    return ta.cross_entropy(model(IDS[:, :-1]), IDS[:, 1:])


# ---- calls ---------------------------------------------------------------------------------------


def test_every_op_is_counted(device):
    x = leaf(3, 4, device=device)
    with ta.profile() as p:
        for _ in range(3):
            (ta.exp(x) * 2 + x).sum().backward()
        with ta.no_grad():
            ta.exp(x)
    assert {name: row.calls for name, row in p.ops.items()} == {
        "exp": 4,
        "multiply": 3,
        "add": 5,  # two of them add gradients up: the second and third x.grad
        "sum": 3,
    }
    back = [span.name for span in p.spans if span.kind == "backward"]
    assert back == 3 * ["sum", "add", "add", "multiply", "exp"]  # a sum has two rules


def test_modules_are_counted_by_their_paths(gpt):
    with ta.profile() as p:
        gpt(IDS), gpt(IDS)
    lent = r"blocks\.\d\..*\.(query|key|value|dropout)"  # whose numbers others compute with
    for path, module in gpt.named_modules():
        if isinstance(module, nn.ModuleList) or re.fullmatch(lent, path):
            assert path not in p.modules
        else:
            assert p.modules[path or "GPT"].calls == 2
    assert "" not in p.modules  # nothing ran outside


def test_what_is_called_again_keeps_its_path(gpt):
    with ta.profile() as p:
        gpt(IDS)
        gpt.blocks[0].norm1(ta.ones(1, 16))
    assert p.modules["blocks.0.norm1"].calls == 2


def test_of_two_models_the_second_is_numbered():
    first, second = (nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(2))
    with ta.profile() as p:
        second(first(ta.ones(1, 2)))
        first(ta.ones(1, 2))
    calls = {path: row.calls for path, row in p.modules.items()}
    assert calls == {
        "Sequential": 2,
        "0": 2,
        "1": 2,
        "Sequential#2": 1,
        "0#2": 1,
        "1#2": 1,
    }


def test_a_module_that_is_gone_gives_its_path_away():
    with ta.profile() as p:
        for _ in range(3):
            nn.Linear(2, 2)(ta.ones(1, 2))
    assert {path: row.calls for path, row in p.modules.items()} == {"Linear": 3}


# ---- bytes ---------------------------------------------------------------------------------------


def saved(p):
    return {name: row.saved for name, row in p.ops.items() if row.saved}


def test_bytes_are_those_of_the_arrays_that_rules_ask_for(device):
    x = leaf(3, 4, device=device)
    with ta.profile() as p:
        y = ta.exp(x)  # keeps its result, 48 bytes
        z = y * ta.tanh(y)  # tanh keeps its own; y is there already
        loss = z.sum()  # only a shape
    assert saved(p) == {"exp": 48, "tanh": 48}
    assert (p.saved.alive, p.saved.peak, p.saved.total) == (96, 96, 96)
    loss.backward()
    assert (p.saved.alive, p.saved.peak, p.saved.total) == (0, 96, 96)


def test_of_a_view_the_whole_buffer_counts_and_once():
    x = leaf(4, 5)
    with ta.profile() as p:
        y = x + 1.0
        loss = (y[:1] * y[1:2]).sum() + (y.T @ y).sum()
    assert saved(p) == {"multiply": 80}
    del loss
    assert p.saved.alive == 0


def test_leaves_do_not_count_however_they_are_seen():
    w, x = leaf(3, 4), leaf(3)
    with ta.profile() as p:
        y = x @ w  # both kept, both leaves
        (y @ w.T[:, :2]).sum()  # a view of a leaf
    assert saved(p) == {"matmul": 16}  # y


def test_a_constant_counts():
    with ta.profile() as p:
        _ = leaf(3) * ta.tensor([1.0, 2.0, 3.0])
    assert p.saved.total == 12


def test_what_a_kernel_keeps_for_itself_counts():
    x = leaf(2, 8)
    with ta.profile() as p:
        y = ta.gelu(x + 0.0)  # its argument, for a replay, and dy/dx
    assert saved(p) == {"gelu": 128}
    del y
    assert p.saved.alive == 0


def test_a_kernel_may_keep_arrays_in_objects_defaults_and_partial_calls():
    class Box:
        __slots__ = ("arrays",)

    @ta.fused(spec=lambda x: x * 1.0)
    def boxed(x):
        box = Box()
        box.arrays = {"one": [x + 1]}

        def backward(g, two=x + 2, *, three=x + 3):
            return (g * (box.arrays["one"][0] - x + 0 * two + 0 * three),)

        return x * 1, backward

    with ta.profile() as p:
        y = boxed(leaf(10))
    assert p.saved.total == 3 * 40
    y.sum().backward()
    assert p.saved.alive == 0


def test_bytes_stay_while_the_graph_is_retained():
    x = leaf(5)
    with ta.profile() as p:
        y = ta.exp(x).sum()
        y.backward(retain_graph=True)
        assert p.saved.alive == 20
        y.backward()
        assert p.saved.alive == 0
        for _ in range(3):
            ta.exp(x)  # dropped at once, each before the next
    assert (p.saved.peak, p.saved.total) == (20, 80)


def test_nothing_is_kept_alive_by_a_profile():
    x = leaf(5)
    gc.disable()
    try:
        with ta.profile() as p:
            y = ta.softmax(ta.exp(x))
            arrays = weakref.ref(y.data), weakref.ref(y.node.saved[0])
            del y
            assert [array() for array in arrays] == [None, None]
    finally:
        gc.enable()
    assert p.ops["softmax"].calls == 1


def test_the_bytes_of_modules_are_those_of_their_ops(gpt):
    with ta.profile() as p:
        loss_of(gpt).backward()
    for rows in (p.ops, p.modules):
        assert sum(row.saved for row in rows.values()) == p.saved.total
    tokens, width = 4, 16
    assert p.modules["blocks.0.norm1"].saved == tokens * (width + 2) * 4  # x, mean, 1/σ
    assert p.modules["blocks.1.mlp.down"].saved == tokens * 4 * width * 4
    assert p.modules["blocks.0"].saved == 0  # sums keep nothing
    assert p.saved.alive == 0


def test_recompute_saves_less_at_once_and_runs_twice(gpt):
    def run(through):
        x = leaf(1, 64, 16)
        with ta.profile() as p:
            for block in [gpt.blocks[0].mlp, gpt.blocks[1].mlp] * 2:
                x = through(block, x)
            between = p.saved.alive
            x.sum().backward()
        assert p.saved.alive == 0
        return p, between

    (plain, all_of_it), (lean, inputs) = run(lambda block, x: block(x)), run(ta.recompute)
    assert all_of_it == plain.saved.peak
    assert inputs == 3 * 64 * 16 * 4  # of four blocks; the first one's is a leaf
    assert lean.saved.peak < plain.saved.peak / 2
    assert lean.ops["linear"].calls == 2 * plain.ops["linear"].calls == 16


def test_a_long_graph_is_let_go_without_recursion():
    x = leaf(1)
    with ta.profile() as p:
        y = x
        for _ in range(10_000):
            y = ta.exp(y * 0.0)
        assert p.saved.alive == 4 * 10_000
        del y
    assert p.saved.alive == 0


# ---- times ---------------------------------------------------------------------------------------


def check_times(p):
    """What holds of the times of every profile."""
    ops, modules = p.ops, p.modules
    for row in (*ops.values(), *modules.values()):
        assert 0 <= row.self <= row.total * (1 + 1e-9)
        assert row.forward >= 0 and row.backward >= 0
        assert row.forward + row.backward <= row.self * (1 + 1e-9)
    for column in ("forward", "backward", "self"):
        total = sum(getattr(row, column) for row in ops.values())
        assert total == pytest.approx(sum(getattr(row, column) for row in modules.values()))
        assert total <= p.seconds


def test_self_times_add_up_to_what_was_spent(gpt):
    optimizer = AdamW(gpt.parameters())
    with ta.profile() as p:
        loss_of(gpt).backward()
        clip_grad_norm_(gpt.parameters(), 1.0)
        clip_grad_value_(parameters=gpt.parameters(), clip_value=1.0)
        optimizer.step()
    check_times(p)
    inside = sum(row.self for path, row in p.modules.items() if path)
    assert p.modules["GPT"].total == pytest.approx(inside)
    assert p.modules["blocks.0"].total == pytest.approx(
        sum(row.self for path, row in p.modules.items() if path.startswith("blocks.0"))
    )
    steps = {name: row for name, row in p.ops.items() if not (row.forward or row.backward)}
    assert set(steps) == {"clip_grad_norm_", "clip_grad_value_", "AdamW.step"}
    assert all(row.calls == 1 and row.self > 0 for row in steps.values())


def test_gradients_take_their_time_where_the_op_was_recorded(gpt):
    with ta.profile() as p:
        loss_of(gpt).backward()  # no module is running then
    back = [span for span in p.spans if span.kind == "backward"]
    assert {span.home[-1] for span in back if span.name == "packed_attention"} == {
        "blocks.0.attention",
        "blocks.1.attention",
    }
    assert all(p.modules[path].backward > 0 for path in ("tokens", "blocks.0.attention.out"))
    assert [span.home for span in back if span.name == "surprise"] == [()]


def test_a_graph_from_before_is_walked_outside_of_modules(gpt):
    loss = loss_of(gpt)
    with ta.profile() as p:
        loss.backward()
    check_times(p)
    assert set(p.modules) == {""}
    assert p.ops["linear"].calls == 0 and p.ops["linear"].backward > 0
    assert p.saved.total == 0


@pytest.mark.parametrize("fn", [ta.softmax, ta.exp], ids=["replay", "rules"])
def test_under_create_graph_nothing_is_counted_twice(fn):
    class Layer(nn.Module):
        def forward(self, x):
            return fn(x).sum()

    x = leaf(4, dtype="float64")
    with ta.profile() as p:
        y = Layer()(x)
        for _ in range(2):
            y = ta.grad(y, x, create_graph=True).sum()
    check_times(p)
    nested = [span for span in p.spans if span.inside is not None]
    assert nested
    for span in nested:
        assert span.inside.kind == "backward"
        assert span.inside.start <= span.start <= span.end <= span.inside.end
    name = fn.__name__
    outermost = [s for s in p.spans if s.name == name and name not in names_around(s)]
    total = sum(span.end - span.start for span in outermost) / 1e9
    assert p.ops[name].total == pytest.approx(total)
    assert p.ops[name].self < p.ops[name].total
    assert p.modules["Layer"].self > 0


def names_around(span):
    names = set()
    while (span := span.inside) is not None:
        names.add(span.name)
    return names


def test_what_a_replay_runs_is_of_the_module_that_recorded(gpt):
    weight = gpt.blocks[0].norm1.weight
    with ta.profile() as p:
        ta.grad(loss_of(gpt), weight, create_graph=True)
    inside = [span for span in p.spans if span.inside and span.inside.name == "packed_attention"]
    assert {span.home[-1] for span in inside} == {"blocks.0.attention", "blocks.1.attention"}


def test_what_recompute_runs_again_is_of_the_whole_model():
    class Model(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(3, 3)

        def forward(self, x):
            return ta.recompute(self.inner, x)

    with ta.profile() as p:
        Model()(leaf(2, 3)).sum().backward()
    check_times(p)
    homes = [span.home for span in p.spans if span.name == "linear"]
    assert homes == 3 * [("Model", "inner")]  # forward, again, and back
    assert p.modules["inner"].calls == 2 and p.modules["Model"].calls == 1


# ---- off, and together with others ---------------------------------------------------------------


def test_off_is_the_very_mode_of_before():
    assert mode.get() is PLAIN
    with ta.profile():
        assert mode.get() is not PLAIN
    assert mode.get() is PLAIN


def test_an_error_inside_passes_and_leaves_nothing_behind(gpt):
    def fail(*_):
        raise ZeroDivisionError

    gpt.blocks[1].register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError), ta.profile() as p:
        gpt(IDS)
    assert mode.get() is PLAIN
    assert p.modules["blocks.1"].calls == 1
    with pytest.raises(ta.ShapeError), ta.profile() as p:
        ta.ones(2) + ta.ones(3)
    assert p.ops["add"].calls == 1 and mode.get() is PLAIN


def test_a_closed_profile_is_not_added_to():
    x = leaf(3)

    def numbers():
        with ta.no_grad():  # left after the profile: it puts back the mode that it found
            yield ta.exp(x)
            yield ta.exp(x)

    def inside():
        items = numbers()
        with ta.profile() as p:
            next(items)
        next(items)
        items.close()
        ta.exp(x)
        ta.exp(x).sum().backward()
        return p

    p = contextvars.copy_context().run(inside)
    assert p.ops["exp"].calls == 1 and p.saved.total == 0


def test_generators_are_profiled_while_they_run(gpt):
    with ta.profile() as p:
        tokens = gpt.stream(IDS, 3)
        next(tokens)
    calls = p.modules["GPT"].calls
    assert calls == 1
    list(tokens)
    assert p.modules["GPT"].calls == calls


def test_a_profile_is_of_the_thread_that_opened_it():
    x = leaf(3)

    def work():
        layer(ta.exp(x)).sum().backward()

    layer = nn.Linear(3, 1)
    with ta.profile() as p:
        context = contextvars.copy_context()  # as asyncio.to_thread does
        for target in (work, lambda: context.run(work)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert p.spans == [] and p.saved.total == 0


def test_a_task_of_the_same_thread_is_profiled():
    async def work():
        await asyncio.sleep(0)
        return ta.exp(leaf(3))

    async def both():
        with ta.profile() as p:
            await asyncio.gather(work(), work())
        return p

    assert asyncio.run(both()).ops["exp"].calls == 2


def test_profiles_inside_one_another_both_work(gpt):
    with ta.profile() as outer:
        ta.exp(leaf(3))
        with ta.profile() as inner:
            loss = loss_of(gpt)
        loss.backward()
    for p in (outer, inner):
        check_times(p)
    assert outer.ops.keys() - inner.ops.keys() == {"exp"}
    assert outer.saved.total == inner.saved.total + 12
    assert inner.saved.alive == outer.saved.alive == 0
    path = "blocks.0.mlp.up"
    assert outer.modules[path].backward > 0 == inner.modules[path].backward


def test_hooks_are_profiled_and_not_disturbed():
    x, seen = leaf(3), []
    with ta.profile() as p:
        y = ta.exp(x)
        y.register_hook(lambda g: seen.append(g) or ta.negative(g))
        y.sum().backward()
    assert p.ops["negative"].calls == len(seen) == 1
    np.testing.assert_allclose(x.grad.numpy(), -np.exp(x.numpy()), rtol=1e-6)


def test_together_with_anomalies_and_maps(gpt):
    with ta.detect_anomaly(), ta.profile() as p, ta.capture_attention() as maps:
        loss_of(gpt).backward()
    assert list(maps) == ["blocks.0.attention", "blocks.1.attention"]
    with ta.profile() as q, ta.detect_anomaly(), pytest.raises(ta.NonFiniteError) as raised:
        ta.log(leaf(3) * 0)
    assert "test_profile.py" in str(raised.value)
    assert p.modules["blocks.1.attention"].calls == q.ops["log"].calls == 1


def test_gradients_are_those_without_it(gpt):
    expected = ta.grad(loss_of(gpt), list(gpt.parameters()))
    with ta.profile():
        found = ta.grad(loss_of(gpt), list(gpt.parameters()))
    for x, y in zip(expected, found, strict=True):
        assert ta.array_equal(x, y)


def test_the_device_is_waited_for_only_when_asked():
    x = leaf(3, device="standin")
    for synchronize, waits in ((False, 0), (True, 8)):
        before = fake_cupy.synchronizations
        with ta.profile(synchronize=synchronize) as p:
            (ta.exp(x) * 2).backward(ta.ones_like(x))
        assert fake_cupy.synchronizations - before == waits  # around each of
        assert [span.name for span in p.spans] == ["exp", "multiply", "multiply", "exp"]
        x.grad = None


# ---- what is shown -------------------------------------------------------------------------------


def test_the_page_fits_80_columns_and_names_what_ran(gpt):
    with ta.profile() as p:
        loss_of(gpt).backward()
        AdamW(gpt.parameters()).step()
    text = str(p)
    assert max(map(len, text.splitlines())) <= 80
    for word in ("linear", "packed_attention", "AdamW.step", "blocks.1", "attention"):
        assert word in text
    assert "down" not in text and "down" in p.module_table()


def test_tables_are_sorted_by_any_column(gpt):
    with ta.profile() as p:
        loss_of(gpt).backward()
    for name in ("calls", "forward", "backward", "self", "total", "saved"):
        for rows, table in ((p.ops, p.op_table(sort=name)), (p.modules, p.module_table(name))):
            largest = max(getattr(row, name) for row in rows.values())
            shown = table.splitlines()[2][:21].strip().lstrip("…")
            first = {key or "(outside of modules)": row for key, row in rows.items()}
            assert largest in [getattr(first[key], name) for key in first if key.endswith(shown)]
    with pytest.raises(ta.DTypeError, match="no column 'time' to sort by; there are calls"):
        p.op_table(sort="time")
    with pytest.raises(ta.DTypeError, match="module_table: there is no column"):
        p.module_table(sort="name")


def test_what_is_left_out_is_added_up(gpt):
    with ta.profile() as p:
        loss_of(gpt).backward()
    whole, short = p.op_table(), p.op_table(limit=3)
    assert whole.splitlines()[-1] == short.splitlines()[-1]
    assert len(short.splitlines()) == 2 + 3 + 1 + 1
    assert f"{len(p.ops) - 3} others" in short
    calls = sum(row.calls for row in p.ops.values())
    assert int(short.splitlines()[-1].split()[1]) == calls
    for depth, names in ((0, ["GPT"]), (1, ["GPT", "tokens", "positions", "dropout", "blocks.0"])):
        shown = p.module_table(depth=depth)
        assert shown.splitlines()[-1].split()[2:] == p.module_table().splitlines()[-1].split()[2:]
        assert [line.split()[0] for line in shown.splitlines()[2:]][: len(names)] == names


def test_long_paths_are_cut_at_their_beginning():
    model = inner = nn.Sequential()
    for _ in range(12):
        inner.append(nn.Sequential())
        inner = inner[0]
    inner.append(nn.Linear(2, 2))
    with ta.profile() as p:
        model(ta.ones(1, 2))
    assert ("0." * 12 + "0") in p.modules
    lines = p.module_table(sort="self").splitlines()
    assert lines[2].startswith("…0.0.0.0.0.0.0.0.0.0 ") and max(map(len, lines)) <= 80


def test_a_profile_of_nothing_can_be_shown(tmp_path):
    with ta.profile() as p:
        assert p.seconds > 0
    assert ": 0.0 in ops, " in str(p) and "\n0 bytes saved" in str(p)
    p.save_trace(tmp_path / "empty.json")
    assert json.loads((tmp_path / "empty.json").read_text())["traceEvents"]


# ---- the trace -----------------------------------------------------------------------------------


def events_of(p, path):
    p.save_trace(path)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert set(found) == {"traceEvents", "displayTimeUnit"}
    for event in found["traceEvents"]:
        assert {"name", "ph", "pid", "tid"} <= set(event)
    return {
        phase: [event for event in found["traceEvents"] if event["ph"] == phase] for phase in "MXC"
    }


def nested(events):
    """(event, names of those around it), where none may begin in another and end after it."""
    around = []
    for event in events:
        assert event["dur"] >= 0 and event["ts"] >= 0
        while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
            around.pop()
        if around:
            assert event["ts"] + event["dur"] <= around[-1]["ts"] + around[-1]["dur"]
        yield event, [outer["name"] for outer in around]
        around.append(event)


def test_a_trace_nests_modules_and_ops_both_ways(gpt, tmp_path):
    with ta.profile() as p:
        loss_of(gpt).backward()
    events = events_of(p, tmp_path / "trace.json")
    assert len(events["X"]) > len(p.spans)
    block = ["GPT", "blocks.1", "blocks.1.attention"]
    found = {"forward": [], "backward": []}
    for event, around in nested(events["X"]):
        if event["name"] == "packed_attention":
            found[event["cat"]].append(around)
            assert event["args"] == {"module": around[-1].split()[0], "operands": shapes(event)}
    assert found["forward"][1] == block
    assert found["backward"][0] == [f"{path} (gradients)" for path in block]
    assert [event["name"] for event in events["M"]] == ["process_name", "thread_name"]


def shapes(event):
    return "(1, 4, 48)" if event["cat"] == "forward" else "(1, 4, 16), (1, 4, 48), (1, 4, 16)"


def test_the_curve_of_saved_bytes_ends_where_it_began(gpt, tmp_path):
    with ta.profile() as p:
        loss_of(gpt).backward()
    curve = [event["args"]["bytes"] for event in events_of(p, tmp_path / "trace.json")["C"]]
    assert max(curve) == p.saved.peak and curve[-1] == 0
    peak = curve.index(max(curve))
    assert curve[: peak + 1] == sorted(curve[: peak + 1])
    assert curve[peak:] == sorted(curve[peak:], reverse=True)


@pytest.mark.parametrize("kind", ["recompute", "create_graph", "backward inside"])
def test_a_trace_nests_whatever_runs(kind, gpt, tmp_path):
    class Penalty(nn.Module):
        def forward(self, x):
            gradient = ta.grad(gpt.blocks[0].mlp(x).sum(), x, create_graph=True)
            return (gradient * gradient).sum()

    x = leaf(1, 3, 16)
    with ta.profile() as p:
        if kind == "recompute":
            ta.recompute(gpt.blocks[0].mlp, x).sum().backward()
        elif kind == "create_graph":
            gradient = ta.grad(loss_of(gpt), gpt.tokens.weight, create_graph=True)
            (gradient * gradient).sum().backward()
        else:
            Penalty()(x).backward()
    check_times(p)
    names = [event["name"] for event, _ in nested(events_of(p, tmp_path / "trace.json")["X"])]
    assert len(names) > len(p.spans)


# ---- the chapter ---------------------------------------------------------------------------------


def test_the_table_in_the_chapter_is_of_this_program():
    """Its calls and bytes. Otherwise: ``python -m docs.make_profile_table``."""
    text = CHAPTER.read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"^```python\n(.*?)^```", text, re.M | re.S)[1], names)
    printed, p = re.search(r"^```text\n(.*?)^```", text, re.M | re.S)[1], names["p"]
    assert printed.splitlines()[1] == str(p).splitlines()[1]
    assert len(rows_in(printed)) > 20
    assert rows_in(printed) <= rows_in(p.op_table()) | rows_in(p.module_table(depth=2))


def rows_in(page):
    """Name, calls and bytes of each line but the summary, and "7 others", which times choose."""
    lines = [line for line in page.splitlines() if line and not line[0].isdigit()]
    return {(line[:28], line[71:]) for line in lines}


def test_a_trace_that_cannot_be_written_says_so(tmp_path):
    with ta.profile() as p:
        ta.ones(2) + 1
    with pytest.raises(ta.errors.DataError, match=r"save_trace: cannot write .*nowhere"):
        p.save_trace(tmp_path / "nowhere" / "a.json")
