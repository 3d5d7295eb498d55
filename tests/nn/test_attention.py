"""MultiheadAttention: the formula head by head, PyTorch's figures, masks, and what is refused."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tests.nn import figures
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)


def inputs(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def by_heads(layer, query, key, value, allowed=True, bias=0.0):
    """The definition, one sequence and one head after the other, and the weights it used."""
    H, Hk, E = layer.num_heads, layer.num_kv_heads, layer.head_dim
    parts = np.split(layer.in_proj_weight.numpy(), np.cumsum([H * E, Hk * E]))
    shifts = np.split(layer.in_proj_bias.numpy(), np.cumsum([H * E, Hk * E]))
    q, k, v = (x @ w.T + b for x, w, b in zip((query, key, value), parts, shifts))
    shape = (len(query), H, query.shape[1], key.shape[1])
    allowed, bias = np.broadcast_to(allowed, shape), np.broadcast_to(bias, shape)
    weights, heads = np.zeros(shape), np.zeros((*query.shape[:2], H * E))
    for b in range(shape[0]):
        for h in range(H):
            mine, theirs = slice(h * E, (h + 1) * E), h * Hk // H
            shared = slice(theirs * E, (theirs + 1) * E)
            scores = q[b][:, mine] @ k[b][:, shared].T / math.sqrt(E) + bias[b, h]
            e = np.exp(scores) * allowed[b, h]
            weights[b, h] = e / np.maximum(e.sum(axis=-1, keepdims=True), 1e-30)
            heads[b][:, mine] = weights[b, h] @ v[b][:, shared]
    return heads @ layer.out_proj.weight.numpy().T + layer.out_proj.bias.numpy(), weights


def close(y, expected):
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-5)


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_the_formula_head_by_head(kv_heads):
    layer = nn.MultiheadAttention(8, 4, num_kv_heads=kv_heads)
    nn.init.normal_(layer.in_proj_bias)
    nn.init.normal_(layer.out_proj.bias)
    query, key, value = inputs(2, 3, 8), inputs(2, 5, 8), inputs(2, 5, 8)
    mask, bias = RNG.random((2, 4, 3, 5)) < 0.7, inputs(4, 3, 5)
    mask[..., 0] = True
    y, weights = layer(
        *map(ta.tensor, (query, key, value)),
        mask=ta.tensor(mask),
        bias=ta.tensor(bias),
        need_weights=True,
    )
    expected, expected_weights = by_heads(layer, query, key, value, mask, bias)
    assert y.dtype == ta.float32 and weights.shape == (2, 4, 3, 5)
    close(y, expected)
    close(weights, expected_weights)


@pytest.mark.parametrize(
    "name", [name for name, case in figures.CASES.items() if case[0] == "MultiheadAttention"]
)
def test_pytorch_gives_the_same(name):
    figures.compare(name)


def test_a_query_alone_attends_itself_and_a_key_is_its_own_value():
    layer = nn.MultiheadAttention(4, 2)
    x, z = ta.tensor(inputs(2, 3, 4)), ta.tensor(inputs(2, 5, 4))
    np.testing.assert_array_equal(layer(x).numpy(), layer(x, x, x).numpy())
    np.testing.assert_array_equal(layer(x, z).numpy(), layer(x, z, z).numpy())


def test_causal_and_windows_are_masks_by_position():
    layer = nn.MultiheadAttention(4, 2)
    x = ta.tensor(inputs(2, 6, 4))
    ahead = np.arange(6)[:, None] - np.arange(6)
    close(layer(x, causal=True), layer(x, mask=ta.tensor(ahead >= 0)).numpy())
    near = (ahead >= 0) & (ahead < 2)
    close(layer(x, causal=True, window=2), layer(x, mask=ta.tensor(near)).numpy())
    shifted = ta.arange(6) + 10
    close(layer(x, causal=True, q_positions=shifted), layer(x).numpy())


def test_padded_keys_have_no_influence_and_get_no_gradient():
    layer = nn.MultiheadAttention(4, 2)
    query, key = inputs(2, 3, 4), inputs(2, 4, 4)
    real = np.array([[True, True, True, False], [True, False, False, False]])
    ys, grads = [], []
    for filler in (0.0, math.nan):
        key[~real] = filler
        z = ta.tensor(key, requires_grad=True)
        y = layer(ta.tensor(query), z, key_mask=ta.tensor(real), causal=False)
        y.sum().backward()
        ys.append(y.numpy())
        grads.append(z.grad.numpy())
    np.testing.assert_array_equal(ys[0], ys[1])
    np.testing.assert_array_equal(grads[0], grads[1])
    assert not grads[0][~real].any() and grads[0][real].any()


RULES = {
    "plain": {},
    "masks": {"mask": RNG.random((5, 5)) < 0.7, "key_mask": RNG.random((2, 5)) < 0.7},
    "a learned bias": {"bias": inputs(4, 5, 5)},
    "window": {"causal": True, "window": 2},
    "positions": {"causal": True, "q_positions": [0, 1, 2, 4, 9], "k_positions": [0, 1, 5, 6, 7]},
}


@pytest.mark.parametrize("rules", RULES.values(), ids=list(RULES))
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_from_one_product_is_that_from_three(rules, kv_heads, bias):
    """A key that is another tensor, of the same numbers, is another sequence to the layer."""
    layer = nn.MultiheadAttention(8, 4, dropout=0.3, bias=bias, num_kv_heads=kv_heads)
    rules = {
        name: ta.tensor(x, requires_grad=name == "bias") if isinstance(x, np.ndarray) else x
        for name, x in rules.items()
    }
    x = ta.tensor(inputs(2, 5, 8), requires_grad=True)
    learned = [rules["bias"]] if "bias" in rules else []
    wanted, results = [x, *learned, *layer.parameters()], []
    for keys in ((), (x + 0,)):
        ta.manual_seed(3)  # the same weights are dropped
        with ta.profile() as p:
            y = layer(x, *keys, **rules)
        assert ("packed_attention" in p.ops) == (not keys)
        g = ta.tensor(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
        results.append([y, *ta.grad(y, wanted, g)])
    for one, other in zip(*results, strict=True):
        close(one, other.numpy())


def test_the_masks_of_pairs_and_of_keys_must_both_agree():
    layer = nn.MultiheadAttention(4, 2)
    x = ta.tensor(inputs(2, 3, 4))
    pairs = np.tril(np.ones((3, 3), bool))
    real = np.array([[True, False, True], [True, True, True]])
    both = pairs & real[:, None, None, :]
    expected = layer(x, mask=ta.tensor(both)).numpy()
    close(layer(x, mask=ta.tensor(pairs), key_mask=ta.tensor(real)), expected)
    close(layer(x, causal=True, key_mask=ta.tensor(real)), expected)


def test_a_sequence_without_a_real_token_gives_the_bias_alone():
    layer = nn.MultiheadAttention(4, 2)
    nn.init.normal_(layer.out_proj.bias)
    x = ta.tensor(inputs(1, 3, 4), requires_grad=True)
    y = layer(x, key_mask=ta.zeros(1, 3) > 0)
    close(y, np.broadcast_to(layer.out_proj.bias.numpy(), (1, 3, 4)))
    y.sum().backward()
    assert not x.grad.numpy().any()


def test_any_number_of_batch_axes():
    layer = nn.MultiheadAttention(4, 2)
    x = inputs(2, 3, 5, 4)
    y = layer(ta.tensor(x)).numpy()
    assert y.shape == (2, 3, 5, 4)
    close(layer(ta.tensor(x[1, 2])), y[1, 2])
    assert layer(ta.zeros(0, 5, 4)).shape == (0, 5, 4)


# ---- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, {"in_proj_weight": (24, 8), "in_proj_bias": (24,)}),
        ({"bias": False}, {"in_proj_weight": (24, 8)}),
        ({"num_kv_heads": 2}, {"in_proj_weight": (16, 8), "in_proj_bias": (16,)}),
        (
            {"kdim": 3},
            {
                "q_proj_weight": (8, 8),
                "k_proj_weight": (8, 3),
                "v_proj_weight": (8, 8),
                "in_proj_bias": (24,),
            },
        ),
        (
            {"kdim": 3, "vdim": 5, "num_kv_heads": 1, "bias": False},
            {"q_proj_weight": (8, 8), "k_proj_weight": (2, 3), "v_proj_weight": (2, 5)},
        ),
    ],
)
def test_names_and_shapes(options, shapes):
    layer = nn.MultiheadAttention(8, 4, **options)
    expected = {**shapes, "out_proj.weight": (8, 8)}
    if options.get("bias", True):
        expected["out_proj.bias"] = (8,)
    assert {name: p.shape for name, p in layer.state_dict().items()} == expected
    key, value = ta.ones(2, 5, layer.kdim), ta.ones(2, 5, layer.vdim)
    assert layer(ta.ones(2, 3, 8), key, value).shape == (2, 3, 8)


def test_first_weights_are_glorots_and_biases_zero():
    layer = nn.MultiheadAttention(128, 4, generator=ta.Generator(0))
    bound = math.sqrt(6 / (128 + 3 * 128))
    w = layer.in_proj_weight.numpy()
    assert 0.99 * bound < np.abs(w).max() <= bound
    assert abs(w.std() - bound / math.sqrt(3)) < 0.01 * bound
    out = layer.out_proj.weight.numpy()
    assert 0.98 / math.sqrt(128) < np.abs(out).max() <= 1 / math.sqrt(128)
    assert not layer.in_proj_bias.numpy().any() and not layer.out_proj.bias.numpy().any()
    layer.reset_parameters(ta.Generator(0))
    again = nn.MultiheadAttention(128, 4, generator=ta.Generator(0))
    np.testing.assert_array_equal(layer.in_proj_weight.numpy(), again.in_proj_weight.numpy())


# ---- gradients, dropout, devices -----------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 1}, {"kdim": 3, "vdim": 1}], ids=str)
def test_gradients_to_second_order(options):
    layer = nn.MultiheadAttention(4, 2, **options)
    generator = ta.Generator(0)
    shapes = [(1, 2, 4), (1, 3, layer.kdim), (1, 3, layer.vdim)]
    assert ta.check_module(layer, tuple(ta.randn(s, generator=generator) for s in shapes))


def test_dropout_drops_weights_in_training_only():
    layer = nn.MultiheadAttention(4, 2, dropout=0.5)
    x = ta.tensor(inputs(2, 8, 4))
    ta.manual_seed(0)
    first, second = layer(x).numpy(), layer(x).numpy()
    ta.manual_seed(0)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert np.abs(first - second).max() > 1e-3
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


def test_another_device_gives_the_same(device):
    layer = nn.MultiheadAttention(8, 4, num_kv_heads=2)
    x, real = inputs(2, 5, 8), np.array([[True] * 5, [True, True, False, False, False]])
    expected = layer(ta.tensor(x), key_mask=ta.tensor(real), causal=True).numpy()
    for there in {device, "standin"}:
        layer.to(there)
        y = layer(ta.tensor(x, device=there), key_mask=ta.tensor(real, device=there), causal=True)
        y.sum().backward()
        assert y.device.startswith(there)
        close(y, expected)


# ---- what is refused -----------------------------------------------------------------------------

X = ta.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("attn_mask", r"write mask=~attn_mask if it is boolean .*, bias=attn_mask if it is float"),
        ("key_padding_mask", r"write key_mask=~key_padding_mask \(here True = a real token\)"),
        ("is_causal", r"'is_causal'; write causal="),
        ("average_attn_weights", r"unknown argument 'average_attn_weights'$"),
    ],
)
def test_pytorchs_names_are_refused_with_what_to_write(name, text):
    with pytest.raises(TypeError, match=rf"MultiheadAttention: .*{text}"):
        nn.MultiheadAttention(4, 2)(X, **{name: None})


def test_masks_are_boolean_and_biases_are_numbers():
    layer = nn.MultiheadAttention(4, 2)
    for masks in ({}, {"key_mask": ta.ones(2, 3) > 0}):
        with pytest.raises(DTypeError, match="mask is float32; a mask is boolean"):
            layer(X, mask=ta.ones(3, 3), **masks)
    with pytest.raises(DTypeError, match="bias is bool"):
        layer(X, bias=ta.ones(3, 3) > 0)
    with pytest.raises(DTypeError, match="key_mask is float32; it must be boolean"):
        layer(X, key_mask=ta.ones(2, 3))
    with pytest.raises(ShapeError, match=r"key_mask is \(3, 2\).* key_mask must be \(2, 3\)"):
        layer(X, key_mask=ta.ones(3, 2) > 0)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(2, 3, 5)], r"query is \(2, 3, 5\).*widths must be 4, 4 and 4"),
        ([(4,)], r"each must be \(batch, length, width\)"),
        ([(2, 3, 4), (2, 5, 3)], "widths must be 4, 4 and 4"),
        ([(2, 3, 4), (1, 5, 4)], "all must have one batch size"),
        ([(2, 3, 4), (2, 5, 4), (2, 6, 4)], "key and value the same length"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shapes, text):
    with pytest.raises(ShapeError, match=text):
        nn.MultiheadAttention(4, 2)(*map(ta.ones, shapes))


@pytest.mark.parametrize(
    ("args", "options", "error", "text"),
    [
        ((6, 4), {}, ShapeError, "embed_dim is 6, num_heads is 4; num_heads must divide embed_dim"),
        ((8, 4), {"num_kv_heads": 3}, ShapeError, "num_heads is 4, num_kv_heads is 3"),
        ((8, 0), {}, ShapeError, "num_heads is 0; it must be at least 1"),
        ((8, 2.0), {}, DTypeError, r"num_heads is 2\.0; it must be a whole number"),
        ((8, 2, 1.5), {}, ShapeError, r"the probability is 1\.5"),
        ((8, 2), {"kdim": 0}, ShapeError, "kdim is 0"),
        ((8, 2), {"batch_first": False}, ShapeError, "batch_first is False; .*swap the first two"),
    ],
)
def test_sizes_are_checked(args, options, error, text):
    with pytest.raises(error, match=f"MultiheadAttention: .*{text}"):
        nn.MultiheadAttention(*args, **options)


def test_batch_first_may_be_spelt_out():
    assert nn.MultiheadAttention(4, 2, batch_first=True)(X).shape == (2, 3, 4)
