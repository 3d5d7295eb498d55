"""A training step: every float in it is a float32, and it leaves nothing behind."""

import gc
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn import nn
from tinygrad_attn.backend import get_backend, is_array
from tinygrad_attn.core import Tensor
from tinygrad_attn.core.graph import Node, changed_mode
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, cosine, decay_groups
from tinygrad_attn.profile.saved import arrays_in
from tinygrad_attn.train import train

PACKAGE = str(Path(ta.__file__).parent)


def gpt():
    """A model with all that a real one has, and hardly a number in it."""
    return GPT(GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=8, dropout=0.1))


def bigrams():
    """The smallest model of a language."""
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))


class Run:
    """A model that learns one batch by heart, with AdamW, clipping and a schedule."""

    def __init__(self, model=gpt, device="cpu", optimizer=AdamW):
        ta.manual_seed(0)
        self.model = model().to(device)
        self.optimizer = optimizer(decay_groups(self.model, 0.1), lr=1e-3)
        ids = ta.randint(0, 7, (2, 5)).to(device)
        self.ids, self.target = ids[:, :-1], ids[:, 1:]

    def loss(self, step):
        return ta.cross_entropy(self.model(self.ids), self.target, label_smoothing=0.1)

    def train(self, steps):
        schedule = cosine(1e-3, steps, warmup=steps // 10)
        train(self.model, self.optimizer, self.loss, steps, schedule=schedule, clip=1.0)


class Careless(AdamW):
    """Looks at its gradients in float64, for one moment."""

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                wide = p.grad.data.astype(np.float64)
                assert wide.size == p.size
        super().step()


# ---- float32 -------------------------------------------------------------------------------------


def wide_in(values):
    """The dtypes of float arrays among ``values`` other than float32."""
    kinds = {x.dtype for x in values if is_array(x) or isinstance(x, np.generic)}
    return {dtype for dtype in kinds if dtype.kind == "f" and dtype != np.float32}


def test_what_ops_are_given_make_and_save_is_float32(device):
    seen = {"forward": 0, "backward": 0, "saved": 0}

    def watch(op, phase, run, operands, node):
        result = run()
        parts = result if isinstance(result, (tuple, list)) else [result]
        assert not wide_in(operands) | wide_in(parts), f"{op.name}, {phase}"
        seen[phase] += 1
        return result

    def record(node, operands):
        arrays = list(arrays_in(node.saved))
        assert not wide_in(arrays), node
        assert node.dtype == np.float32
        seen["saved"] += len(arrays)

    run = Run(device=device)
    with changed_mode(watchers=(watch,), recorders=(record,)):
        run.train(4)
    assert min(seen.values()) > 50


def test_what_stays_after_a_step_is_float32(device):
    run = Run(device=device)
    run.train(2)
    parameters = list(run.model.parameters())
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {ta.float32}
    remembered = [x for state in run.optimizer.state.values() for x in state.values()]
    assert len([x for x in remembered if is_array(x)]) == 2 * len(parameters)
    assert not wide_in(remembered)


def every_local(run):
    """The float64 arrays that any function of the package has in a variable during a step."""
    found = set()

    def look(frame, event, arg):
        if not frame.f_code.co_filename.startswith((PACKAGE, __file__)):
            return None
        for name, value in frame.f_locals.items():
            if wide_in([value]):
                found.add(f"{name} in {frame.f_code.co_name}")
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        run.train(1)
    finally:
        sys.settrace(before)
    return found


def every_array(run):
    """The float64 arrays that are made on the stand-in for a GPU in a step, temporary or not."""
    found, make = set(), fake_cupy.ndarray.__init__

    def made(self, host, number, base=None):
        make(self, host, number, base)
        if wide_in([self]):
            found.add(f"an array of shape {host.shape}")

    kernels = get_backend("standin").kernels  # its norm sums in float64, and says so
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_cupy.ndarray, "__init__", made)
        patch.delitem(kernels, "norm2")
        run.train(1)
    return found


@pytest.mark.parametrize(("look", "device"), [(every_local, "cpu"), (every_array, "standin")])
def test_no_float64_is_made_inside_a_step_either(look, device):
    assert look(Run(device=device)) == set()
    assert look(Run(device=device, optimizer=Careless)) != set()  # what looks can see


# ---- nothing is left behind ----------------------------------------------------------------------


def alive():
    """How many tensors and nodes there are."""
    kinds = [type(thing) for thing in gc.get_objects()]
    return sum(issubclass(kind, Tensor) for kind in kinds), kinds.count(Node)


@pytest.mark.parametrize(
    ("model", "steps"),
    [(bigrams, 500), (gpt, 100), pytest.param(gpt, 10_000, marks=pytest.mark.slow)],
)
def test_many_steps_leave_nothing_behind(model, steps):
    """With the garbage collector off, and nothing for it to do in the end."""
    run = Run(model)
    run.train(3)
    tracemalloc.start()
    gc.disable()
    try:
        run.train(3)
        gc.collect()  # which also frees what Python keeps for reuse
        things, (before, _) = alive(), tracemalloc.get_traced_memory()
        run.train(steps)
        assert alive() == things
        assert gc.collect() == 0
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 100_000  # bytes, of however many steps: room that NumPy keeps for reuse
