"""Watchers, recorders and scopes: who may look on, and what they are shown."""

import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn, optim
from tinygrad_attn.backend import namespace
from tinygrad_attn.core.graph import PLAIN, changed_mode, mode
from tinygrad_attn.core.scopes import scoped
from tinygrad_attn.errors import GraphError, NonFiniteError
from tinygrad_attn.models import evaluating


def test_scopes_run_what_is_scoped_newest_innermost():
    log = []

    def scope(name):
        def run_inside(function, who, run):
            log.append((name, function.__name__, who))
            return [*run(), name]

        return run_inside

    @scoped
    def work(who, *more, extra=None):
        """What it does."""
        return [who, *more, extra]

    assert work(1, 2) == [1, 2, None] and work.__doc__ == "What it does."
    with changed_mode(scopes=(scope("old"), scope("new"))):
        assert work(1, extra=3) == [1, 3, "new", "old"]
        assert work(who=1) == [1, None, "new", "old"]
    assert log == [(name, "work", who) for who in (1, None) for name in ("old", "new")]
    assert mode.get() is PLAIN


CONTEXTS = {
    "profile": ta.profile,
    "detect_anomaly": ta.detect_anomaly,
    "capture_attention": ta.capture_attention,
    "evaluating": lambda: evaluating(nn.Linear(2, 2)),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_is_entered_once(name):
    """Side by side and nested, and what it says is ours."""
    one, other = CONTEXTS[name](), CONTEXTS[name]()
    told = rf"^{name}: this context was entered before.* `with {name}\(\.\.\.\)` again"
    with one, pytest.raises(GraphError, match=told), one:
        pass
    with pytest.raises(GraphError, match=told), one:
        pass
    with other:
        pass
    assert mode.get() is PLAIN


def test_a_context_above_a_function_is_made_for_each_call():
    @ta.detect_anomaly()
    def root(x):
        return ta.sqrt(x)

    for _ in range(2):
        assert root(ta.tensor(4.0)).item() == 2
        with pytest.raises(NonFiniteError):
            root(ta.tensor(-4.0))


def test_layers_and_steps_are_scoped():
    layer, met = nn.Sequential(nn.Linear(2, 2)), []
    optimizer = optim.SGD(layer.parameters(), lr=0.1)

    def note(function, who, run):
        met.append((who, function.__name__))
        return run()

    with changed_mode(scopes=(note,)):
        layer(ta.ones(1, 2)).sum().backward()
        optim.clip_grad_norm_(list(layer.parameters()), 1.0)
        optimizer.step()
    assert [who for who, _ in met[:2]] == [layer, layer[0]]
    assert met[2][1] == "clip_grad_norm_" and met[3] == (optimizer, "step")


@pytest.mark.parametrize("kind", ["primitive", "fused", "recompute"])
def test_recorders_are_shown_each_new_node_and_its_operands(kind):
    x, shown = ta.tensor([1.0, 2.0], requires_grad=True), []
    call = {
        "primitive": lambda: ta.multiply(x, 2.0),
        "fused": lambda: ta.softmax(x),
        "recompute": lambda: ta.recompute(ta.square, x),
    }[kind]
    with changed_mode(recorders=(lambda *seen: shown.append(seen),)):
        y = call()
        with ta.no_grad():
            call()
    node, operands = shown[-1]
    assert node is (y.node.parents[0] if kind == "recompute" else y.node)
    assert operands[0] is x.data
    assert len(shown) == {"primitive": 1, "fused": 1, "recompute": 3}[kind]  # the function's too


def test_a_replay_is_one_step_to_watchers():
    """As a rule is, whatever ops it is written in."""

    @ta.fused(spec=lambda x: 1 / (1 / x))
    def same(x):
        return x * 1, lambda g: (g,)

    x, seen = ta.tensor([1.0, 2.0], requires_grad=True), []

    def watch(op, phase, run, operands, node):
        seen.append(("in", op.name, phase))
        result = run()
        seen.append(("out", op.name, phase))
        return result

    y = same(x)
    with changed_mode(watchers=(watch,)):
        ta.grad(y, x, ta.ones(2), create_graph=True)
    begin, end = seen.index(("in", "same", "backward")), seen.index(("out", "same", "backward"))
    assert begin == 0
    assert {name for _, name, _ in seen[begin + 1 : end]} >= {"alias", "divide"}
    assert "divide" not in {name for _, name, _ in seen[end:]}


def test_a_replay_may_pass_through_an_infinity():
    """An anomaly is what comes out of it."""

    @ta.fused(spec=lambda x: x / (1 + ta.exp(-x.detach())))
    def gated(x):
        gate = namespace(x).where(x < 0, 0, 1).astype(x.dtype)
        return x * gate, lambda g: (g * gate,)

    x = ta.tensor([-200.0, 200.0], requires_grad=True)  # e²⁰⁰ is no float32
    y = gated(x)
    with ta.detect_anomaly():
        assert ta.grad(y.sum(), x, create_graph=True).tolist() == [0.0, 1.0]
