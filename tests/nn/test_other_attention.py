"""AdditiveAttention and LinearAttention: formulas pair by pair, masks, and what is refused."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)


def random(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(y, expected):
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-5)


def weighted(weights, values):
    """(Σ w·v, w) with the rows of ``weights`` (B, T, S) brought to a sum of 1, or left at 0."""
    weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-30)
    return weights @ values, weights


def additive(layer, query, key, value, allowed=True):
    """The definition, one pair after the other."""
    w, u = layer.query_proj.weight.numpy(), layer.key_proj.weight.numpy()
    scores = np.zeros((len(query), query.shape[1], key.shape[1]))
    for b, t, s in np.ndindex(scores.shape):
        hidden = np.tanh(w @ query[b, t] + u @ key[b, s])
        scores[b, t, s] = layer.score.weight.numpy()[0] @ hidden
    return weighted(np.exp(scores) * allowed, value)


def linear(layer, query, key, value, allowed=True):
    """The definition, with all the weights φ(q)·φ(k) of each head."""

    def project(x, part):
        y = x @ part.weight.numpy().T + part.bias.numpy()
        return np.split(y, layer.num_heads, axis=-1)

    def positive(x):
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))

    heads = []
    parts = (layer.q_proj, layer.k_proj, layer.v_proj)
    for q, k, v in zip(*map(project, (query, key, value), parts)):
        weights = positive(q) @ positive(k).swapaxes(1, 2)
        heads.append(weighted(weights * allowed, v)[0])
    return np.concatenate(heads, -1) @ layer.out_proj.weight.numpy().T + layer.out_proj.bias.numpy()


# ---- additive ------------------------------------------------------------------------------------


def test_additive_attention_pair_by_pair():
    layer = nn.AdditiveAttention(3, 5, 4)
    query, key, value = random(2, 3, 3), random(2, 6, 5), random(2, 6, 7)
    y, weights = layer(*map(ta.tensor, (query, key, value)), need_weights=True)
    expected, expected_weights = additive(layer, query, key, value)
    assert y.dtype == ta.float32 and y.shape == (2, 3, 7)
    close(y, expected)
    close(weights, expected_weights)
    close(layer(ta.tensor(query), ta.tensor(key)), additive(layer, query, key, key)[0])


@pytest.mark.parametrize("shape", [(2, 3, 6), (3, 6), (2, 1, 6), (2, 3, 1), (6,), ()])
def test_masks_of_pairs_and_of_keys_must_both_agree(shape):
    layer = nn.AdditiveAttention(3, 5, 4)
    query, key = random(2, 3, 3), random(2, 6, 5)
    mask, real = RNG.random(shape) < 0.6, np.array([[True] * 6, [True] * 4 + [False] * 2])
    allowed = np.broadcast_to(mask, (2, 3, 6))
    masks = {"mask": ta.tensor(mask), "key_mask": ta.tensor(real)}
    x, z = ta.tensor(query), ta.tensor(key)
    close(layer(x, z, mask=masks["mask"]), additive(layer, query, key, key, allowed)[0])
    both = allowed & real[:, None, :]
    close(layer(x, z, **masks), additive(layer, query, key, key, both)[0])


def poisoned(layer, query, key, closed, **masks):
    """Outputs and all gradients with zeros, and with NaN, in the closed keys."""
    found = []
    for filler in (0.0, math.nan):
        z = np.where(closed[..., None], filler, key).astype(np.float32)
        x, z = ta.tensor(query, requires_grad=True), ta.tensor(z, requires_grad=True)
        y = layer(x, z, **{name: ta.tensor(mask) for name, mask in masks.items()})
        gradients = ta.grad((y * y).sum(), [x, z, *layer.parameters()])
        found.append([t.numpy() for t in (y, *gradients)])
    for clean, dirty in zip(*found):
        np.testing.assert_array_equal(clean, dirty)
        assert np.isfinite(clean).all()
    return found[0]


REAL = np.array([[True, True, True, False], [False] * 4])


@pytest.mark.parametrize("by", ["key_mask", "mask"])
def test_what_additive_attention_may_not_attend_has_no_influence(by):
    layer = nn.AdditiveAttention(3, 5, 4)
    masks = {by: REAL if by == "key_mask" else REAL[:, None, :]}
    y, gx, gz, *_ = poisoned(layer, random(2, 3, 3), random(2, 4, 5), ~REAL, **masks)
    assert not y[1].any() and not gx[1].any() and not gz[~REAL].any()
    assert y[0].all() and gz[REAL].all()


def test_nan_reaches_only_those_who_may_attend_it():
    layer = nn.AdditiveAttention(3, 5, 4)
    query, key = ta.tensor(random(1, 4, 3), requires_grad=True), random(1, 4, 5)
    key[0, 2] = math.nan
    mask = ta.tensor(np.tril(np.ones((4, 4), bool)))
    y = layer(query, ta.tensor(key), mask=mask)
    np.testing.assert_array_equal(np.isnan(y.numpy()[0]).all(axis=-1), [False, False, True, True])
    (gradient,) = ta.grad(y[:, :2].sum(), [query])
    assert np.isfinite(gradient.numpy()[:, :2]).all()


def test_no_keys_and_no_queries():
    additive_layer, linear_layer = nn.AdditiveAttention(4, 4, 2), nn.LinearAttention(4, 2)
    nothing, some = ta.ones(2, 0, 4), ta.ones(2, 3, 4)
    assert not additive_layer(some, nothing).numpy().any()
    assert additive_layer(nothing, some).shape == (2, 0, 4)
    for causal in (False, True):
        y = linear_layer(some, nothing, causal=causal)
        close(y, np.broadcast_to(linear_layer.out_proj.bias.numpy(), (2, 3, 4)))
        assert linear_layer(nothing, some, causal=causal).shape == (2, 0, 4)


# ---- linear --------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (2, 5), (5, 3), (1, 4)])
def test_linear_attention_pair_by_pair(heads, queries, keys):
    layer = nn.LinearAttention(4, heads)
    query, key, value = random(2, queries, 4), random(2, keys, 4), random(2, keys, 4)
    inputs = list(map(ta.tensor, (query, key, value)))
    close(layer(*inputs), linear(layer, query, key, value))
    past = np.arange(keys) <= np.arange(keys - queries, keys)[:, None]
    close(layer(*inputs, causal=True), linear(layer, query, key, value, past))
    real = RNG.random((2, keys)) < 0.6
    masks = {"key_mask": ta.tensor(real), "causal": True}
    close(layer(*inputs, **masks), linear(layer, query, key, value, past & real[:, None, :]))


def test_a_query_alone_attends_itself_and_a_key_is_its_own_value():
    layer = nn.LinearAttention(4, 2)
    x, z = ta.tensor(random(2, 3, 4)), ta.tensor(random(2, 5, 4))
    np.testing.assert_array_equal(layer(x).numpy(), layer(x, x, x).numpy())
    np.testing.assert_array_equal(layer(x, z).numpy(), layer(x, z, z).numpy())


def test_causal_linear_attention_does_not_look_ahead():
    layer, x = nn.LinearAttention(4, 2), random(1, 6, 4)
    before = layer(ta.tensor(x), causal=True).numpy()
    x[:, 4:] = 9.0
    after = layer(ta.tensor(x), causal=True).numpy()
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any()


def test_padded_keys_of_linear_attention_have_no_influence():
    layer = nn.LinearAttention(4, 2)
    y, gx, gz, *_ = poisoned(layer, random(2, 3, 4), random(2, 4, 4), ~REAL, key_mask=REAL)
    close(ta.tensor(y[1]), np.broadcast_to(layer.out_proj.bias.numpy(), (3, 4)))
    assert not gx[1].any() and not gz[~REAL].any() and gz[REAL].all()


def test_weights_far_below_one_are_still_told_apart():
    """φ(−20) = e⁻²⁰, where elu(−20) + 1 would be 0 in float32."""
    layer = nn.LinearAttention(1, 1)
    for part in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj):
        nn.init.ones_(part.weight)
        nn.init.zeros_(part.bias)
    y = layer(ta.zeros(1, 1, 1), ta.tensor([[[-20.0], [-21.0]]]), ta.tensor([[[1.0], [0.0]]]))
    np.testing.assert_allclose(y.item(), 1 / (1 + math.exp(-1)), rtol=1e-5)


def test_half_precision_sums_in_float32():
    layer = nn.LinearAttention(2, 1)
    x = random(1, 3000, 2)
    exact = layer.to(ta.float64)(ta.tensor(x.astype(np.float64)), causal=True).numpy()
    y = layer.to(ta.float16)(ta.tensor(x.astype(np.float16)), causal=True)
    assert y.dtype == ta.float16
    np.testing.assert_allclose(y.numpy(), exact, atol=5e-3)


# ---- both ----------------------------------------------------------------------------------------


def test_names_and_shapes():
    shapes = {name: p.shape for name, p in nn.AdditiveAttention(3, 5, 4).named_parameters()}
    expected = {"query_proj.weight": (4, 3), "key_proj.weight": (4, 5), "score.weight": (1, 4)}
    assert shapes == expected
    assert list(nn.LinearAttention(4, 2, bias=False).state_dict()) == [
        f"{part}_proj.weight" for part in ("q", "k", "v", "out")
    ]
    assert "embed_dim=4, num_heads=2" in repr(nn.LinearAttention(4, 2))
    assert "\n  3, 5, 4\n" in repr(nn.AdditiveAttention(3, 5, 4))


def test_gradients_to_second_order():
    x, z = (ta.randn(1, n, 2, generator=ta.Generator(n)) for n in (2, 3))
    mask = ta.tensor([[True, False, True], [True, True, False]])
    layer = nn.AdditiveAttention(2, 2, 2, generator=ta.Generator(0))
    assert ta.check_module(layer, {"query": x, "key": z, "mask": mask})
    layer = nn.LinearAttention(2, 1, generator=ta.Generator(0))
    real = ta.tensor([[True, False, True]])
    assert ta.check_module(layer, {"query": x, "key": z, "key_mask": real})
    assert ta.check_module(layer, {"query": z, "causal": True})


def test_another_device_gives_the_same(device):
    x, real = random(2, 4, 4), ta.tensor(REAL)
    for layer in (nn.AdditiveAttention(4, 4, 3), nn.LinearAttention(4, 2)):
        expected = layer(ta.tensor(x), ta.tensor(x), key_mask=real).numpy()
        z = ta.tensor(x, device=device)
        y = layer.to(device)(z, z, key_mask=real.to(device))
        y.sum().backward()
        assert y.device == z.device
        close(y.cpu(), expected)


X, Z = ta.ones(2, 3, 4), ta.ones(2, 5, 4)


@pytest.mark.parametrize(
    ("make", "options", "error", "text"),
    [
        ("additive", {"attn_mask": None}, TypeError, "write mask=~attn_mask if it is boolean"),
        ("additive", {"key_padding_mask": None}, TypeError, "write key_mask=~key_padding_mask"),
        ("additive", {"mask": ta.ones(3, 5)}, DTypeError, "mask is float32; a mask is boolean"),
        ("additive", {"mask": ta.ones(5, 3) > 0}, ShapeError, "broadcast to (B, T, S) = (2, 3, 5)"),
        ("additive", {"mask": ta.ones(1, 1, 3, 5) > 0}, ShapeError, "mask is (1, 1, 3, 5)"),
        ("additive", {"key_mask": ta.ones(2, 5)}, DTypeError, "key_mask is float32"),
        ("additive", {"is_causal": True}, TypeError, "unknown argument 'is_causal'"),
        ("linear", {"attn_mask": None}, TypeError, "there is no attn_mask=, for the keys are"),
        ("linear", {"is_causal": True}, TypeError, "unknown argument 'is_causal'; write causal="),
        ("linear", {"key_mask": ta.ones(2, 3) > 0}, ShapeError, "key_mask is (2, 3), key is (2, 5"),
        ("linear", {"mask": None}, TypeError, "there is no mask=, for the keys are summed up"),
        ("linear", {"need_weights": True}, TypeError, "only key_mask= and causal= are possible"),
        ("linear", {"key_padding_mask": None}, TypeError, "write key_mask=~key_padding_mask"),
    ],
)
def test_masks_are_checked(make, options, error, text):
    layer = nn.AdditiveAttention(4, 4, 2) if make == "additive" else nn.LinearAttention(4, 2)
    with pytest.raises(error) as caught:
        layer(X, Z, **options)
    assert str(caught.value).startswith(type(layer).__name__) and text in str(caught.value)


def test_no_hint_names_an_argument_that_is_not_there():
    layer = nn.AdditiveAttention(4, 4, 2)
    for name in ("attn_mask", "is_causal"):
        with pytest.raises(TypeError) as caught:
            layer(X, Z, **{name: None})
        assert "bias=" not in str(caught.value) and "causal=" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([(2, 3, 5), (2, 5, 4)], "query is (2, 3, 5), key is (2, 5, 4)"),
        ([(2, 3, 4), (2, 5, 3)], "their widths must be 4, 4"),
        ([(3, 4), (5, 4)], "each must be (batch, length, width)"),
        ([(2, 3, 4), (1, 5, 4)], "all must have one batch size"),
        ([(2, 3, 4), (2, 5, 4), (2, 6, 4)], "key and value the same length"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, text):
    for layer in (nn.AdditiveAttention(4, 4, 2), nn.LinearAttention(4, 2)):
        with pytest.raises(ShapeError) as caught:
            layer(*map(ta.ones, inputs))
        assert text in str(caught.value)


def test_sizes_are_checked():
    with pytest.raises(ShapeError, match="AdditiveAttention: hidden_dim is 0"):
        nn.AdditiveAttention(3, 4, 0)
    with pytest.raises(ShapeError, match="num_heads is 3; num_heads must divide embed_dim"):
        nn.LinearAttention(4, 3)
