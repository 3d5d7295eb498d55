"""Transformer layers: PyTorch's figures, residuals by hand, stacks, and what is refused."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tests.nn import figures
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)


def inputs(*shape):
    return ta.tensor(RNG.standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(
    "name", [name for name, case in figures.CASES.items() if case[0] != "MultiheadAttention"]
)
def test_pytorch_gives_the_same(name):
    figures.compare(name)


# ---- one layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_is_two_residuals(norm_first):
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation="silu", norm_first=norm_first).eval()
    x = inputs(2, 3, 4)

    def residual(x, norm, part):
        return x + part(norm(x)) if norm_first else norm(x + part(x))

    y = residual(x, layer.norm1, lambda x: layer.self_attn(x, causal=True))
    y = residual(y, layer.norm2, lambda x: layer.linear2(ta.silu(layer.linear1(x))))
    np.testing.assert_array_equal(layer(x, causal=True).numpy(), y.numpy())


@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_names_are_those_of_pytorch(kind):
    parts = ["self_attn.in_proj", "self_attn.out_proj.", "linear1.", "linear2.", "norm1.", "norm2."]
    if kind is nn.TransformerDecoderLayer:
        parts += ["multihead_attn.in_proj", "multihead_attn.out_proj.", "norm3."]
    weights = {part + ("_" if part.endswith("proj") else "") + "weight" for part in parts}
    biases = {name.removesuffix("weight") + "bias" for name in weights}
    assert set(kind(4, 2, 6).state_dict()) == weights | biases
    assert set(kind(4, 2, 6, bias=False).state_dict()) == weights


@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_their_order_is_that_of_pytorch(kind):
    """An optimizer's state counts parameters instead of naming them."""
    found = list(dict.fromkeys(name.split(".")[0] for name in kind(4, 2, 6).state_dict()))
    expected = ["self_attn", "multihead_attn", "linear1", "linear2", "norm1", "norm2", "norm3"]
    if kind is nn.TransformerEncoderLayer:
        expected = [name for name in expected if name not in ("multihead_attn", "norm3")]
    assert found == expected


def test_options_reach_the_parts():
    layer = nn.TransformerDecoderLayer(8, 4, 6, 0.3, nn.GELU("tanh"), 1e-3, num_kv_heads=2)
    assert [m.p for m in layer.modules() if isinstance(m, nn.Dropout)] == [0.3] * 4
    assert layer.self_attn.dropout == layer.multihead_attn.dropout == 0.3
    assert {m.eps for m in layer.modules() if isinstance(m, nn.LayerNorm)} == {1e-3}
    assert layer.self_attn.num_kv_heads == layer.multihead_attn.num_kv_heads == 2
    assert layer.activation.approximate == "tanh" and layer.linear1.out_features == 6
    assert nn.TransformerEncoderLayer(4, 2).linear1.out_features == 2048


def test_the_activation_may_be_any_function():
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation=lambda x: x * 0).eval()
    x = inputs(1, 3, 4)
    expected = layer.norm2(layer.norm1(x + layer.self_attn(x)) + layer.linear2.bias)
    np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), rtol=1e-6)


def test_an_op_may_be_the_activation_and_the_layer_is_copied_and_pickled_with_it():
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation=ta.relu).eval()
    x = inputs(1, 3, 4)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.activation is ta.relu
        np.testing.assert_array_equal(twin(x).numpy(), layer(x).numpy())


def test_dropout_everywhere_follows_the_seed():
    layer = nn.TransformerDecoderLayer(4, 2, 6, 0.5)
    x, memory = inputs(2, 3, 4), inputs(2, 5, 4)
    ta.manual_seed(0)
    first, second = layer(x, memory).numpy(), layer(x, memory).numpy()
    ta.manual_seed(0)
    np.testing.assert_array_equal(layer(x, memory).numpy(), first)
    assert np.abs(first - second).max() > 1e-3


def test_a_decoder_looks_back_at_itself_and_at_all_of_the_memory():
    layer = nn.TransformerDecoderLayer(4, 2, 6).eval()
    x, memory = inputs(1, 4, 4).requires_grad_(), inputs(1, 5, 4).requires_grad_()
    y = layer(x, memory, causal=True)
    gx, gm = ta.grad(y[0, 1, 0], [x, memory])
    reached = np.abs(gx.numpy()[0]).sum(axis=1) > 0
    assert reached.tolist() == [True, True, False, False]
    assert (np.abs(gm.numpy()[0]).sum(axis=1) > 0).all()


def test_gradients():
    layer = nn.TransformerEncoderLayer(2, 1, 3, 0.0, "gelu", norm_first=True)
    assert ta.check_module(layer, ta.randn(1, 2, 2, generator=ta.Generator(0)), order=1)


@pytest.mark.slow
def test_gradients_to_second_order():
    x, memory = (ta.randn(1, size, 2, generator=ta.Generator(size)) for size in (2, 3))
    for options in ({}, {"norm_first": True}):
        encoder = nn.TransformerEncoderLayer(2, 1, 3, 0.0, "gelu", **options)
        assert ta.check_module(encoder, x)
        decoder = nn.TransformerDecoderLayer(2, 1, 3, 0.0, "gelu", **options)
        assert ta.check_module(decoder, (x, memory), mode="random")


def test_another_device_gives_the_same(device):
    layer = nn.TransformerDecoderLayer(4, 2, 6).eval()
    x, memory = inputs(2, 3, 4), inputs(2, 5, 4)
    real = ta.tensor([[True] * 5, [True, True, False, False, False]])
    expected = layer(x, memory, causal=True, cross_key_mask=real).numpy()
    for there in {device, "standin"}:
        layer.to(there)
        y = layer(x.to(there), memory.to(there), causal=True, cross_key_mask=real.to(there))
        y.sum().backward()
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-5)


# ---- stacks --------------------------------------------------------------------------------------


def test_a_stack_is_its_layers_one_after_the_other_and_the_norm():
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0)
    stack = nn.TransformerEncoder(layer, 3, nn.LayerNorm(4))
    x = inputs(2, 3, 4)
    y = x
    for one in stack.layers:
        y = one(y, causal=True)
    np.testing.assert_array_equal(stack(x, causal=True).numpy(), stack.norm(y).numpy())
    assert "layers.2.norm1.weight" in stack.state_dict() and "norm.bias" in stack.state_dict()


def test_the_layers_of_a_stack_start_equal_and_live_apart():
    layer = nn.TransformerDecoderLayer(4, 2, 6)
    stack = nn.TransformerDecoder(layer, 2)
    first, second = (one.linear1.weight for one in stack.layers)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    np.testing.assert_array_equal(first.numpy(), layer.linear1.weight.numpy())
    nn.init.zeros_(first)
    assert second.numpy().any() and layer.linear1.weight.numpy().any()
    assert stack.norm is None and stack(inputs(1, 2, 4), inputs(1, 3, 4)).shape == (1, 2, 4)


def test_the_whole_transformer_is_drawn_by_glorots_rule_layer_by_layer():
    model = nn.Transformer(32, 2, 2, 2, 64, generator=ta.Generator(0))
    first, second = (layer.linear1.weight.numpy() for layer in model.encoder.layers)
    bound = (6 / (32 + 64)) ** 0.5
    assert (first != second).all() and 0.98 * bound < np.abs(first).max() <= bound
    assert model.decoder.norm.weight.tolist() == [1.0] * 32


def test_the_target_looks_at_no_padding_of_the_source():
    model = nn.Transformer(4, 2, 1, 1, 6).eval()
    src, tgt = inputs(2, 4, 4), inputs(2, 3, 4)
    real = np.array([[True, True, True, False], [True, False, False, False]])
    mask = ta.tensor(real)
    y = model(src, tgt, source_key_mask=mask, causal=True)
    spoilt = src.numpy().copy()
    spoilt[~real] = np.nan
    again = model(ta.tensor(spoilt), tgt, source_key_mask=mask, causal=True)
    np.testing.assert_array_equal(again.numpy(), y.numpy())
    only_first = ta.tensor([[True, False, False, False]] * 2)
    other = model(src, tgt, source_key_mask=mask, causal=True, cross_key_mask=only_first)
    assert np.abs(other.numpy() - y.numpy())[0].max() > 1e-4
    np.testing.assert_allclose(other.numpy()[1], y.numpy()[1], rtol=1e-5)


# ---- what is refused -----------------------------------------------------------------------------

X = ta.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("encoder", "src_mask", "mask=~src_mask if it is boolean"),
        ("encoder", "src_key_padding_mask", "key_mask=~src_key_padding_mask"),
        ("encoder", "is_causal", "causal="),
        ("decoder", "tgt_mask", "mask=~tgt_mask .*, bias=tgt_mask if it is float"),
        ("decoder", "memory_mask", "cross_mask=~memory_mask .*, cross_bias=memory_mask"),
        ("decoder", "memory_key_padding_mask", "cross_key_mask=~memory_key_padding_mask"),
        ("decoder", "tgt_is_causal", "causal="),
        ("transformer", "src_mask", "source_mask=~src_mask .*, source_bias=src_mask"),
        ("transformer", "src_key_padding_mask", "source_key_mask=~src_key_padding_mask"),
        ("transformer", "tgt_key_padding_mask", "key_mask=~tgt_key_padding_mask"),
    ],
)
def test_pytorchs_names_are_refused_with_what_to_write(kind, name, text):
    model = {
        "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 1),
        "decoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6), 1),
        "transformer": lambda: nn.Transformer(4, 2, 1, 1, 6),
    }[kind]()
    given = [X] if kind == "encoder" else [X, X]
    with pytest.raises(TypeError, match=f"unknown argument '{name}'; write {text}"):
        model(*given, **{name: None})


def test_options_are_checked():
    with pytest.raises(DTypeError, match="TransformerEncoderLayer: activation is 'tanh'; it must"):
        nn.TransformerEncoderLayer(4, 2, activation="tanh")
    with pytest.raises(DTypeError, match="activation is None"):
        nn.TransformerEncoderLayer(4, 2, activation=None)
    with pytest.raises(ShapeError, match="TransformerDecoderLayer: dim_feedforward is 0"):
        nn.TransformerDecoderLayer(4, 2, 0)
    with pytest.raises(ShapeError, match="num_heads must divide embed_dim"):
        nn.TransformerEncoderLayer(5, 2)
    with pytest.raises(ShapeError, match="TransformerEncoderLayer: batch_first is False"):
        nn.TransformerEncoderLayer(4, 2, batch_first=False)
    with pytest.raises(ShapeError, match="TransformerEncoder: num_layers is 0"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0)
    with pytest.raises(ShapeError, match="Transformer: batch_first is 1"):
        nn.Transformer(4, 2, batch_first=1)
