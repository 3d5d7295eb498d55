"""A training step of a GPT as a GPU sees it: how often it must wait, how much it is given to do.

Counted on the stand-in for CuPy. To wait means to stand still until the GPU has done all that it
was given; a step in which nobody waits is prepared while the last one is still being computed.
"""

import traceback
from collections import Counter

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import fake_cupy
from tinygrad_attn.models.gpt import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, clip_grad_norm_


def trainer(layers, padded=False, **options):
    """A function that takes one step of a GPT with dropout, from a batch that is on the host."""
    ta.manual_seed(0)
    config = GPTConfig(
        vocab_size=11, block_size=16, n_layer=layers, n_head=2, n_embd=8, dropout=0.1, **options
    )
    model = GPT(config).to("standin")
    optimizer = AdamW(model.parameters(), lr=1e-2)
    inputs = np.arange(32).reshape(4, 8) % 11
    targets = np.where(inputs > 8, -100, inputs)  # some that do not count
    real = np.arange(8) < [[8], [5], [8], [1]]

    def step():
        optimizer.zero_grad()
        mask = ta.tensor(real, device="standin") if padded else None
        logits = model(ta.tensor(inputs, device="standin"), key_mask=mask)
        loss = ta.cross_entropy(logits, ta.tensor(targets, device="standin"), label_smoothing=0.1)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    step()  # the first makes what later ones find: the moments, buffers
    return step


def noted(step, what, monkeypatch):
    """Counter: the file of the package, by its name, in which ``step`` came to call ``what``."""
    found, call = Counter(), getattr(fake_cupy, what)

    def noting(*args):
        frames = [f.filename for f in traceback.extract_stack() if "tinygrad_attn" in f.filename]
        ours = [name for name in frames if "/core/" not in name and "/backend/" not in name]
        found[ours[-1].rpartition("tinygrad_attn/")[2] if ours else "the test"] += 1
        call(*args)

    with monkeypatch.context() as patch:
        patch.setattr(fake_cupy, what, noting)
        step()
    return found


def waits(step, monkeypatch):
    """Where ``step`` made the program wait."""
    return noted(step, "_wait", monkeypatch)


POSITIONS = ["learned", "sinusoidal", "rope", "alibi"]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_step_waits_for_nothing(positions, padded, monkeypatch):
    assert not waits(trainer(2, padded, positions=positions), monkeypatch)


def test_to_read_the_loss_is_to_wait_once(monkeypatch):
    loss = trainer(1)()
    assert waits(loss.item, monkeypatch).total() == 1


def launches(layers, **options):
    """How much the GPU is given to do in a step."""
    step = trainer(layers, **options)
    before = fake_cupy.launches.total()
    step()
    return fake_cupy.launches.total() - before


def test_launches_are_counted():
    step = trainer(1)
    before = fake_cupy.launches.copy()
    step()
    during = fake_cupy.launches - before
    assert {"gemmEx", "adam", "scale", "array"} <= set(during)
    sent = during["array"]  # the batch in two parts; the tables of what lies where, if it moved
    assert 2 <= sent <= 5
    assert not {"empty", "transpose", "swapaxes"} & set(during)


def test_an_optimizer_and_clipping_take_no_more_launches_for_more_parameters(monkeypatch):
    """One that changes all parameters, six for the norm, the factor and the product with it."""
    for layers in (1, 3):
        found = noted(trainer(layers), "count_launch", monkeypatch)
        sent = 3  # tables, if anything moved
        assert found["optim/adam.py"] + found["optim/clip.py"] <= 1 + 6 + sent


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_step_of_l_layers_takes_at_most_30_l_and_40_launches(layers):
    """Those of a layer are, forward

        norm 1, weights and biases of q, k and v joined 1, product 1, biases 1, attention 1,
        product out 1 and what follows it 1, norm 1, product up 1, gelu 1, product down 1, and what
        follows that 1,

    in all 12, and backward

        of each of the four products: what its gradient was before activation and dropout, with the
        gradient of the bias 1, products 2; of attention 2; of each norm 1, and 1 for the sum with
        what came past it,

    in all 18. So is every launch of ours that a layer asks for used, and none is a copy.
    """
    assert launches(layers) <= 30 * layers + 40


def test_rotary_positions_take_17_launches_more():
    """Three products instead of one, with what follows and precedes them: 9; to turn queries and
    keys, both ways: 4, and 2 for what they turn back by; two sums of gradients more."""
    found = [launches(layers, positions="rope") for layers in (1, 2)]
    assert found[1] - found[0] == 47
