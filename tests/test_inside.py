"""capture_attention: the weights of any model, by module path, and what a silent head changes."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.models import GPT, GPTConfig

IDS = ta.tensor([[3, 1, 4]])


@pytest.fixture
def gpt():
    ta.manual_seed(0)
    return GPT(GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=2, n_embd=16))


def test_weights_by_module_path(gpt):
    plain = gpt(IDS)
    with ta.capture_attention() as maps:
        watched = gpt(IDS)
    assert list(maps) == ["blocks.0.attention", "blocks.1.attention"]
    assert all(weights.shape == (1, 2, 3, 3) for weights in maps.values())
    np.testing.assert_allclose(maps["blocks.0.attention"].sum(axis=-1).numpy(), 1, rtol=1e-6)
    np.testing.assert_array_equal(watched.numpy(), plain.numpy())
    assert not maps["blocks.0.attention"].requires_grad


def test_encoder_decoder_and_cross_attention():
    encoder = nn.TransformerEncoderLayer(8, 2, 16)
    decoder = nn.TransformerDecoderLayer(8, 2, 16)
    source, target = ta.randn(1, 5, 8), ta.randn(1, 3, 8)
    with ta.capture_attention() as maps:
        decoder(target, encoder(source))
    assert {path: weights.shape for path, weights in maps.items()} == {
        "self_attn": (1, 2, 5, 5),
        "self_attn#2": (1, 2, 3, 3),
        "multihead_attn": (1, 2, 3, 5),
    }


def test_the_tiled_path_and_bare_calls_are_seen_too():
    q = ta.randn(1, 4, 8)
    with ta.capture_attention() as maps:
        ta.scaled_dot_product_attention(q, q, q, causal=True, path="tiled")
    assert maps["attention"].shape == (1, 4, 4)
    assert (np.triu(maps["attention"].numpy()[0], 1) == 0).all()


def test_every_token_of_a_generation(gpt):
    with ta.capture_attention() as maps:
        gpt.generate(IDS, 2)
    assert maps["blocks.1.attention#2"].shape[-2:] == (1, 4)


def test_a_silent_head_is_a_head_whose_output_is_zero(gpt):
    attention = gpt.blocks[0].attention
    with ta.capture_attention(ablate={"blocks.0.attention": [1]}):
        silenced = gpt(IDS)
    with ta.no_grad():
        attention.out.weight[:, 8:] = (
            0.0  # what the second head has to say is read by these columns
        )
    np.testing.assert_allclose(silenced.numpy(), gpt(IDS).numpy(), atol=1e-6)


def test_gradients_flow_while_captured(gpt):
    with ta.capture_attention(ablate={"blocks.0.attention": True}):
        gpt(IDS).sum().backward()
    assert (gpt.blocks[0].attention.value.weight.grad.numpy() == 0).all()
    assert (gpt.blocks[1].attention.value.weight.grad.numpy() != 0).any()


def test_a_wrong_path_or_head_is_refused(gpt):
    with (
        pytest.raises(ta.ShapeError, match=r"nothing at 'blocks\.7'.*blocks\.0\.attention"),
        ta.capture_attention(ablate={"blocks.7": [0]}),
    ):
        gpt(IDS)
    with (
        pytest.raises(ta.ShapeError, match="which has 2"),
        ta.capture_attention(ablate={"blocks.0.attention": [2]}),
    ):
        gpt(IDS)


def test_an_error_inside_is_not_hidden(gpt):
    with pytest.raises(ZeroDivisionError), ta.capture_attention(ablate={"nowhere": [0]}):
        raise ZeroDivisionError
