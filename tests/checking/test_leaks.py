"""The leak checkers find what was planted, name where it comes in, and acquit what is sound."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.models import GPT, GPTConfig

IDS = ta.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
FLOATS = ta.randn(2, 5, 4, generator=ta.Generator(0))
REAL = ta.tensor([[True, True, True, False, False], [True] * 5])


@pytest.fixture
def gpt():
    ta.manual_seed(0)
    return GPT(GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=2, n_embd=16, dropout=0.1))


class Mixer(nn.Module):
    """A layer whose forward is given, added to a residual if there is one."""

    def __init__(self, function):
        self.function = function

    def forward(self, x, residual=None):
        y = self.function(x)
        return y if residual is None else residual + y


def wrong_mask(x):
    return ta.scaled_dot_product_attention(x, x, x)


def off_by_one(x):
    seen = np.tril(np.ones((x.shape[1], x.shape[1]), bool), 1)
    return ta.scaled_dot_product_attention(x, x, x, mask=ta.tensor(seen))


def norm_over_time(x):
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def softmax_over_queries(x):
    scores = ta.where(ta.tensor(np.tril(np.ones((5, 5), bool))), x @ x.mT, -np.inf)
    return ta.softmax(scores, axis=-2) @ x


PLANTED = [
    wrong_mask,
    off_by_one,
    norm_over_time,
    softmax_over_queries,
    lambda x: ta.flip(x, axis=1),
]


@pytest.mark.parametrize("leak", PLANTED, ids=lambda f: f.__name__)
def test_planted_leaks_are_found_and_located(leak):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Mixer(leak), nn.Linear(4, 4))
    report = ta.check_causality(model, FLOATS)
    assert not report
    assert "'2', Mixer" in str(report)
    assert "by value and by gradient" in str(report)


@pytest.mark.parametrize("training", [True, False])
def test_a_gpt_is_causal(gpt, training):
    gpt.train(training)
    report = ta.check_causality(gpt, IDS[:, :-1], targets=IDS[:, 1:])
    assert report, report
    assert report.probes == 3
    assert not report.notes


def test_a_leak_inside_a_gpt_is_named(gpt):
    gpt.blocks[1].mlp = Mixer(lambda x: x + x.mean(axis=1, keepdims=True))
    report = ta.check_causality(gpt, IDS)
    assert not report
    assert "'blocks.1.mlp', Mixer" in str(report)


def test_targets_that_were_not_shifted_are_found(gpt):
    assert "its own input" in str(ta.check_causality(gpt, IDS, targets=IDS))
    late = ta.concatenate([IDS[:, :1], IDS[:, :-1]], axis=1)
    assert "the input 1 before it" in str(ta.check_causality(gpt, IDS, targets=late))


def test_a_product_with_zero_is_noted_but_no_leak():
    weights = ta.tensor(np.tril(np.ones((5, 5), "float32")))
    report = ta.check_causality(lambda x: weights @ x, FLOATS)
    assert report
    assert "0·NaN" in report.notes[0]


def test_padding_has_no_influence_behind_its_mask():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1)
    report = ta.check_padding(layer, FLOATS, REAL)
    assert report, report
    assert not report.notes


def test_padding_without_its_mask_is_found():
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    report = ta.check_padding(layer, FLOATS, REAL, call=layer)
    assert not report
    assert "'self_attn', MultiheadAttention" in str(report)


def test_what_is_refused():
    with pytest.raises(ta.ShapeError, match="a future needs T of 2 or more"):
        ta.check_causality(lambda x: x, FLOATS[:, :1])
    with pytest.raises(ta.ShapeError, match="must begin with the same"):
        ta.check_causality(lambda x: x.sum(axis=1), FLOATS)
    with pytest.raises(ta.ShapeError, match="real is"):
        ta.check_padding(lambda x: x, FLOATS, REAL[:, :3])
    with pytest.raises(ta.DTypeError, match="tokens must be a tensor"):
        ta.check_causality(lambda x: x, [1, 2])
