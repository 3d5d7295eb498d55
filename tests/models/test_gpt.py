"""GPT: its sizes, its names, that it looks back only, and that it learns."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.errors import DTypeError, IndexRangeError, ShapeError
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.models.place import Place

SMALL = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 4, "n_embd": 16}


def small(**changes):
    ta.manual_seed(0)
    return GPT(GPTConfig(**{**SMALL, **changes}))


def tokens(*shape, seed=0):
    return ta.tensor(np.random.default_rng(seed).integers(0, SMALL["vocab_size"], shape))


# ---- sizes and names -----------------------------------------------------------------------------


def test_the_parameters_are_those_of_the_documented_table():
    shapes = {name: p.shape for name, p in small(n_layer=1, n_kv_head=2).named_parameters()}
    assert shapes == {
        "tokens.weight": (11, 16),
        "positions.weight": (8, 16),
        "blocks.0.norm1.weight": (16,),
        "blocks.0.norm1.bias": (16,),
        "blocks.0.attention.query.weight": (16, 16),
        "blocks.0.attention.query.bias": (16,),
        "blocks.0.attention.key.weight": (8, 16),
        "blocks.0.attention.key.bias": (8,),
        "blocks.0.attention.value.weight": (8, 16),
        "blocks.0.attention.value.bias": (8,),
        "blocks.0.attention.out.weight": (16, 16),
        "blocks.0.attention.out.bias": (16,),
        "blocks.0.norm2.weight": (16,),
        "blocks.0.norm2.bias": (16,),
        "blocks.0.mlp.up.weight": (64, 16),
        "blocks.0.mlp.up.bias": (64,),
        "blocks.0.mlp.down.weight": (16, 64),
        "blocks.0.mlp.down.bias": (16,),
        "norm.weight": (16,),
        "norm.bias": (16,),
    }


@pytest.mark.parametrize("positions", ["sinusoidal", "rope", "alibi", "none"])
def test_only_learned_positions_are_parameters(positions):
    names = {name for name, _ in small().named_parameters()}
    others = {name for name, _ in small(positions=positions).named_parameters()}
    assert names - others == {"positions.weight"}
    assert others < names


def test_without_biases_there_are_none():
    assert not any(name.endswith("bias") for name, _ in small(bias=False).named_parameters())


def test_weights_begin_small_and_smaller_where_a_layer_adds_to_the_stream():
    model = small(n_layer=8, n_embd=128)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            added = name.endswith(("attention.out.weight", "mlp.down.weight"))
            expected = 0.02 / math.sqrt(16) if added else 0.02
            assert float(parameter.numpy().std()) == pytest.approx(expected, rel=0.15), name
        elif name.endswith("bias"):
            assert not parameter.numpy().any()


def test_an_untrained_model_guesses_uniformly():
    model = small(vocab_size=100)
    loss = ta.cross_entropy(model(tokens(4, 8)), tokens(4, 8, seed=1))
    assert loss.item() == pytest.approx(math.log(100), rel=0.02)


def test_the_same_seed_gives_the_same_model():
    for a, b in zip(small().parameters(), small().parameters()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# ---- what it computes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_kv_head": 1},
        {"n_kv_head": 2},
        {"bias": False},
        {"window": 3},
        {"positions": "sinusoidal"},
        {"positions": "rope", "window": 2},
        {"positions": "alibi"},
        {"positions": "none"},
    ],
)
def test_logits_at_a_token_do_not_know_what_comes_after(changes):
    model = small(**changes)
    ids = tokens(2, 8)
    for t in range(1, 8):
        other = ids.numpy().copy()
        other[:, t:] = (other[:, t:] + 1) % SMALL["vocab_size"]
        before, after = model(ids).numpy(), model(ta.tensor(other)).numpy()
        np.testing.assert_allclose(after[:, :t], before[:, :t], rtol=0, atol=1e-6)
        assert (np.abs(after[:, t] - before[:, t]) > 1e-6).any()


def test_rows_of_a_batch_know_nothing_of_each_other():
    model, ids = small(), tokens(3, 8)
    for i in range(3):
        np.testing.assert_allclose(
            model(ids[i : i + 1]).numpy(), model(ids).numpy()[i : i + 1], atol=1e-6
        )


def test_the_head_is_the_token_table():
    model, ids = small(), tokens(1, 4)
    before = model(ids).numpy()
    table = model.tokens.weight.numpy().copy()
    unused = next(i for i in range(11) if i not in ids.numpy())
    table[unused] = 0
    model.tokens.weight.data[...] = table
    after = model(ids).numpy()
    assert not after[..., unused].any()
    np.testing.assert_allclose(
        np.delete(after, unused, axis=-1), np.delete(before, unused, axis=-1), atol=1e-6
    )


def test_dropout_acts_in_training_only():
    model, ids = small(dropout=0.5), tokens(2, 8)
    assert (model(ids).numpy() != model(ids).numpy()).any()
    model.eval()
    np.testing.assert_array_equal(model(ids).numpy(), model(ids).numpy())


def test_every_parameter_gets_a_gradient_that_finite_differences_confirm():
    model = small(n_kv_head=2).to(ta.float64)
    ids, targets = tokens(2, 6), tokens(2, 6, seed=1)
    random = np.random.default_rng(0)
    ta.cross_entropy(model(ids), targets).backward()
    for name, parameter in model.named_parameters():
        direction = random.standard_normal(parameter.shape)
        slope = float((parameter.grad.numpy() * direction).sum())
        start = parameter.numpy().copy()
        at = []
        for step in (1e-5, -1e-5):
            parameter.data[...] = start + step * direction
            at.append(ta.cross_entropy(model(ids), targets).item())
        parameter.data[...] = start
        assert slope == pytest.approx((at[0] - at[1]) / 2e-5, rel=1e-4, abs=1e-8), name


def test_it_learns_a_batch_by_heart():
    model = small()
    ids, targets = tokens(4, 8), tokens(4, 8, seed=1)
    optimizer = ta.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        loss = ta.cross_entropy(model(ids), targets)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_attention_weights_are_causal_and_sum_to_one():
    model, ids = small(n_kv_head=2), tokens(3, 7)
    weights = model.attention(ids).numpy()
    assert weights.shape == (2, 3, 4, 7, 7)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    assert not np.triu(weights, 1).any()
    assert model.training
    assert not any(block.attention._forward_hooks for block in model.blocks)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rope", "alibi", "none"])
def test_attention_weights_are_those_of_the_scheme(positions):
    model, ids = small(positions=positions, window=3), tokens(2, 6)
    weights = model.attention(ids).numpy()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    assert not np.tril(weights, -3).any()
    ratio = weights[0, 0, :, 5, 4] / weights[0, 0, :, 5, 5]  # small weights: scores are nearly 0
    slopes = [2.0 ** -(2 * h) for h in range(1, 5)] if positions == "alibi" else 0
    np.testing.assert_allclose(np.log(ratio), -np.array(slopes) * np.ones(4), atol=0.05)


@pytest.mark.parametrize("changes", [{}, {"n_kv_head": 2, "bias": False}, {"window": 3}])
@pytest.mark.parametrize("positions", ["learned", "alibi"])
@pytest.mark.parametrize("is_padded", [False, True])
def test_one_product_for_q_k_and_v_is_three(changes, positions, is_padded, monkeypatch):
    """With dropout, the very same elements of which are dropped."""
    model, ids = small(positions=positions, dropout=0.2, **changes), tokens(2, 6)
    real = ta.tensor(np.arange(6) < [[6], [4]]) if is_padded else None
    results = []
    for is_whole in (True, False):
        monkeypatch.setattr(Place, "is_whole", is_whole)
        ta.manual_seed(1)
        with ta.profile() as p:
            logits = model(ids, key_mask=real)
        assert ("packed_attention" in p.ops) == is_whole
        loss = ta.cross_entropy(logits, ids)
        results.append([logits, *ta.grad(loss, list(model.parameters()))])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rope"])
def test_without_end_is_what_looks_at_distances_and_not_far(positions):
    endless = positions == "rope"
    model = small(positions=positions, window=3)
    assert model.config.longest == (None if endless else 8)
    assert small(positions=positions).config.longest == 8
    if endless:
        assert model(tokens(1, 30)).shape == (1, 30, 11)
    else:
        with pytest.raises(ShapeError, match="context of this model is 8"):
            model(tokens(1, 30))


def test_it_moves_between_float_types():
    model, ids = small().to(ta.float64), tokens(1, 4)
    assert model(ids).dtype == ta.float64
    with ta.no_grad():
        assert model(ids, cache=model.new_cache(1)).dtype == ta.float64


# ---- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"n_head": 3}, ShapeError, "n_embd 16 is not divisible by n_head 3"),
        ({"n_kv_head": 3}, ShapeError, "n_head 4 is not divisible by n_kv_head 3"),
        ({"n_layer": 0}, ShapeError, "n_layer is 0; it must be at least 1"),
        ({"vocab_size": -5}, ShapeError, "vocab_size is -5"),
        ({"block_size": 2.5}, DTypeError, "block_size is 2.5; it must be a whole number"),
        ({"n_embd": True}, DTypeError, "n_embd is True"),
        ({"dropout": 1.0}, ShapeError, "dropout is 1.0; it must be in 0..1, 1 excluded"),
        ({"dropout": -0.1}, ShapeError, "dropout is -0.1"),
        ({"window": 0}, ShapeError, "window is 0; it must be at least 1"),
        ({"window": 2.0}, DTypeError, "window is 2.0"),
        ({"positions": "rotary"}, ShapeError, "positions is 'rotary'; it must be one of learned"),
        (
            {"positions": "rope", "n_embd": 12},
            ShapeError,
            "positions is 'rope', for which dimensions come in pairs, but n_embd is 12 and n_head",
        ),
        (
            {"positions": "sinusoidal", "n_embd": 5, "n_head": 1},
            ShapeError,
            "positions is 'sinusoidal', for which dimensions come in pairs",
        ),
    ],
)
def test_sizes_that_cannot_be(changes, error, message):
    with pytest.raises(error, match=f"GPTConfig: {message}"):
        GPTConfig(**{**SMALL, **changes})


@pytest.mark.parametrize(
    "ids, error, message",
    [
        (
            np.zeros((2, 9), int),
            ShapeError,
            r"ids is \(2, 9\), 9 tokens; the context of this model is 8",
        ),
        (np.zeros(4, int), ShapeError, r"ids is \(4,\); it must be \(B, T\)"),
        (
            np.zeros((0, 4), int),
            ShapeError,
            r"ids is \(0, 4\); it must be \(B, T\), neither of them 0",
        ),
        (np.zeros((2, 0), int), ShapeError, r"ids is \(2, 0\)"),
        ([[0, 11]], IndexRangeError, r"11 at index \(0, 1\) is outside 0\.\.10"),
        ([[-1, 3]], IndexRangeError, r"-1 at index \(0, 0\) is outside 0\.\.10"),
        ([[0.5, 1.0]], DTypeError, r"must be integers: ids\.astype\(\"int64\"\)"),
    ],
)
def test_ids_that_it_cannot_read(ids, error, message):
    with pytest.raises(error, match=message):
        small()(ta.tensor(ids))


def test_what_is_put_in_the_place_of_a_projection_is_called():
    """A hook, or another layer, such as one with a small matrix beside the large one."""

    class Beside(ta.nn.Module):
        def __init__(self, layer):
            self.layer = layer

        def forward(self, x):
            return self.layer(x) * 2

    model, ids, seen = small(), tokens(2, 8), []
    plain = model(ids)
    remove = model.blocks[1].attention.key.register_forward_hook(lambda *_: seen.append("hook"))
    np.testing.assert_allclose(model(ids).numpy(), plain.numpy(), atol=1e-6)
    remove()
    model.blocks[0].attention.value = Beside(model.blocks[0].attention.value)
    assert seen == ["hook"]
    assert np.abs(model(ids).numpy() - plain.numpy()).max() > 1e-3


@pytest.mark.parametrize("path", ["attention.out", "mlp.up", "mlp.down"])
@pytest.mark.parametrize("how", ["hook", "layer", "forward"])
def test_a_map_is_seen_alone_though_more_is_done_with_its_product(path, how):
    """What stands in its place need not know of residuals, and may not lose one."""
    model, ids, seen = small(), tokens(2, 8), []
    plain = model(ids).numpy()
    part, name = path.split(".")
    home = getattr(model.blocks[0], part)
    layer = getattr(home, name)

    def look(x, y):
        np.testing.assert_allclose(
            y.numpy(), ta.linear(x, layer.weight, layer.bias).numpy(), atol=1e-6
        )
        seen.append(how)
        return y

    class Instead(ta.nn.Module):
        def forward(self, x):
            return look(x, ta.linear(x, layer.weight, layer.bias))

    if how == "hook":
        layer.register_forward_hook(lambda _, given, y: look(*given, y))
    elif how == "layer":
        setattr(home, name, Instead())
    else:
        layer.forward = Instead().forward
    np.testing.assert_allclose(model(ids).numpy(), plain, atol=1e-5)
    assert seen == [how]


def test_a_bias_may_be_missing_in_one_projection_alone():
    """As in Whisper, whose keys have none."""
    model, ids = small(), tokens(2, 8)
    attention = model.blocks[0].attention
    ta.nn.init.zeros_(attention.key.bias)
    expected = model(ids).numpy()
    attention.key.bias = None
    np.testing.assert_allclose(model(ids).numpy(), expected, atol=1e-6)
