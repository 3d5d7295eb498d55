"""autocast: regions and what holds in them; gradients; the copies of weights; the other modes."""

import threading

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.test_every_op import check_values
from tinygrad_attn import nn
from tinygrad_attn.backend import dtypes
from tinygrad_attn.core.graph import PLAIN, mode
from tinygrad_attn.errors import DTypeError, GraphError, NonFiniteError


@pytest.fixture(autouse=True)
def the_mode_is_left_clean():
    yield
    assert mode.get() is PLAIN


def drawn(*shape, seed=0, dtype=ta.float32):
    values = np.random.default_rng(seed).standard_normal(shape)
    return ta.tensor(values).astype(dtype).requires_grad_()


def product_dtype():
    return (ta.ones(2, 2) @ ta.ones(2, 2)).dtype


# ---- regions -------------------------------------------------------------------------------------


def test_regions_nest_and_the_innermost_holds():
    assert product_dtype() == ta.float32
    with ta.autocast():
        assert product_dtype() == ta.float16
        with ta.autocast(enabled=False):
            assert product_dtype() == ta.float32
            with ta.autocast(ta.float16):
                assert product_dtype() == ta.float16
        assert product_dtype() == ta.float16
    assert product_dtype() == ta.float32


@pytest.mark.skipif(dtypes.bfloat16 is None, reason="no ml_dtypes, or a NumPy before 2.2")
def test_a_region_of_bfloat16_inside_one_of_float16():
    weight = drawn(2, 2)
    with ta.autocast():
        assert (weight @ weight).dtype == ta.float16
        with ta.autocast("bfloat16"):
            assert (weight @ weight).dtype == dtypes.bfloat16
            large = ta.tensor([[1e38, 0.0]])
            assert (large @ ta.ones(2, 1)).item() == pytest.approx(1e38, rel=0.01)
        assert (weight @ weight).dtype == ta.float16


def test_as_a_decorator_and_above_a_generator():
    @ta.autocast()
    def product():
        return product_dtype()

    @ta.autocast()
    def products():
        while True:
            yield product_dtype()

    assert product() == product() == ta.float16
    items = products()
    for _ in range(2):
        assert next(items) == ta.float16 and product_dtype() == ta.float32
    items.close()


def test_a_region_that_is_off_leaves_the_short_path_open():
    with ta.autocast(enabled=False):
        assert mode.get() is PLAIN


def test_an_error_inside_leaves_the_mode_as_it_was():
    with pytest.raises(ZeroDivisionError), ta.autocast():
        _ = 1 / 0
    with pytest.raises(ta.ShapeError, match=r"a is \(2, 3\), b is \(2, 3\)"), ta.autocast():
        ta.ones(2, 3) @ ta.ones(2, 3)


def test_each_thread_has_its_own():
    seen, inside, go = [], threading.Event(), threading.Event()

    def other():
        seen.append(product_dtype())
        with ta.autocast():
            inside.set()
            go.wait(5)
            seen.append(product_dtype())

    with ta.autocast():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(5)
    assert product_dtype() == ta.float32  # while the other thread is inside its own
    go.set()
    thread.join()
    assert seen == [ta.float32, ta.float16]


@pytest.mark.parametrize("wrong", [ta.float32, "float64", int, "cuda", None, 16])
def test_a_dtype_that_is_none_of_16_bits(wrong):
    with pytest.raises(DTypeError, match=r"^autocast: dtype is .* must be float16 or \"bfloat16\""):
        ta.autocast(wrong)


def test_bfloat16_without_the_package_that_has_it(monkeypatch):
    monkeypatch.setattr(dtypes, "bfloat16", None)
    needs = (
        r"bfloat16 needs the package ml_dtypes, and NumPy from 2\.2 on; pip install "
        r"'tinygrad-attn\[bf16\]'"
    )
    with pytest.raises(DTypeError, match=f"^autocast: {needs}"):
        ta.autocast("bfloat16")
    with pytest.raises(DTypeError, match=f"^zeros: {needs}"):
        ta.zeros(2, dtype="bfloat16")


# ---- which dtype ---------------------------------------------------------------------------------


def test_a_float64_operand_takes_the_whole_op_along():
    x, weight = drawn(3, 4, dtype=ta.float64), drawn(4, 2)
    with ta.autocast():
        y = x @ weight
        loss = ta.mse_loss(y, ta.zeros(3, 2))
    assert y.dtype == loss.dtype == ta.float64
    loss.backward()
    assert (x.grad.dtype, weight.grad.dtype) == (ta.float64, ta.float32)
    np.testing.assert_array_equal(y.numpy(), (x @ weight.astype(ta.float64)).numpy())


def test_whole_numbers_and_truth_are_no_floats():
    n = ta.arange(4).reshape(2, 2)
    with ta.autocast():
        assert (n @ n).dtype == n.sum().dtype == ta.int64
        assert ta.exp(n).dtype == n.mean().dtype == ta.float32
        assert (n > 1).dtype == ta.bool_


def test_a_comparison_sees_what_it_is_given():
    x, y = ta.tensor([1.0, 2.0]), ta.tensor([1.0001, 2.0])
    with ta.autocast():
        assert (x == y).tolist() == [False, True]  # in float16 both would be equal


def test_a_write_keeps_the_dtype_of_what_is_written_to():
    with ta.autocast():
        x, half = ta.zeros(2, 2), ta.ones(2, 2) @ ta.ones(2, 2)
        x[0] = half[0]
        half[0] = ta.tensor([1.5, 2.5])
    assert x.dtype == ta.float32 and x.tolist() == [[2.0, 2.0], [0.0, 0.0]]
    assert half.dtype == ta.float16 and half.tolist() == [[1.5, 2.5], [2.0, 2.0]]


def test_an_op_of_the_user_takes_the_widest_unless_it_says_more():
    @ta.primitive
    def triple(x):
        return 3 * x

    triple.derivatives(x=lambda g: 3 * g)

    @ta.fused(spec=lambda x: x * x)
    def fast_square(x):
        return x * x, lambda g: (g * 2 * x,)

    half, single = ta.ones(2, dtype=ta.float16), drawn(2)
    with ta.autocast():
        assert triple(half).dtype == ta.float16 and triple(single).dtype == ta.float32
        assert fast_square(half).dtype == ta.float16
        triple.precision, fast_square.precision = "half", "float32"
        y = triple(single)
        assert y.dtype == ta.float16 and fast_square(half).dtype == ta.float32
        triple.precision = "float16"
        with pytest.raises(DTypeError, match="triple: precision is 'float16'; it must be \"half\""):
            triple(single)
    y.sum().backward()
    assert single.grad.dtype == ta.float32 and single.grad.tolist() == [3, 3]
    assert triple(half).dtype == ta.float16  # outside of a region nobody asks


# ---- gradients -----------------------------------------------------------------------------------


def little_network(x, w1, w2, norm):
    """All that a Transformer is made of: norm, products, attention, softmax, a loss."""
    h = ta.layer_norm(x, norm)
    h = x + ta.scaled_dot_product_attention(h @ w1, h, h, causal=True)
    logits = ta.linear(ta.gelu(h @ w1), w2)
    return ta.cross_entropy(logits, ta.tensor([[0, 2, 1], [1, 0, 2]]))


def operands(dtype=ta.float32):
    shapes = [(2, 3, 4), (4, 4), (3, 4), (4,)]
    return [drawn(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]


HALVES = [ta.float16] if dtypes.bfloat16 is None else [ta.float16, dtypes.bfloat16]


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_gradients_are_float32_and_nearly_those_of_float64(half):
    xs, exact = operands(), operands(ta.float64)
    with ta.autocast(half):
        loss = little_network(*xs)
    assert loss.dtype == ta.float32
    loss.backward()
    for x, g in zip(xs, ta.grad(little_network(*exact), exact)):
        assert x.grad.dtype == ta.float32
        check_values(x.grad, g.numpy(), 0.005 if half == ta.float16 else 0.04)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_the_second_order_flows_through_the_casts(half):
    def penalty(xs):
        gradients = ta.grad(little_network(*xs), xs, create_graph=True)
        return sum((g * g).sum() for g in gradients)

    xs, exact = operands(), operands(ta.float64)
    with ta.autocast(half):
        loss = penalty(xs)
        found = ta.grad(loss, xs)
    for g, expected in zip(found, ta.grad(penalty(exact), exact)):
        assert g.dtype == ta.float32
        check_values(g, expected.numpy(), 0.01 if half == ta.float16 else 0.08)


def test_gradcheck_in_float64_sees_nothing_of_it():
    xs = operands(ta.float64)
    with ta.autocast():
        assert ta.gradcheck(little_network, xs, order=2, mode="random", directions=2)


def test_the_way_back_computes_in_the_types_of_the_way_forward():
    x, weight, seen = drawn(3, 4), drawn(2, 4), []
    with ta.autocast():
        y = ta.linear(x, weight)
        y.register_hook(lambda g: seen.append(g.dtype))
        (y.astype(ta.float32) * 2).sum().backward()
    assert seen == [ta.float16]


# ---- the copies of weights -----------------------------------------------------------------------


def saved_by(y):
    """The 16-bit arrays that the op of y keeps for the way back."""
    return {id(array) for array in y.node.saved if getattr(array, "dtype", None) == ta.float16}


def test_a_weight_is_copied_once_in_a_region():
    weight, a, b = drawn(2, 4), drawn(3, 4, seed=1) * 1, drawn(3, 4, seed=2) * 1
    with ta.autocast():
        first, second = ta.linear(a, weight), ta.linear(b, weight)
        with ta.autocast():
            third = ta.linear(b, weight)
        assert len(saved_by(first) & saved_by(second) & saved_by(third)) == 1
    with ta.autocast():
        assert not saved_by(first) & saved_by(ta.linear(a, weight))


def test_two_losses_of_one_region_go_back_through_the_same_copy():
    weight, x = drawn(2, 4), drawn(3, 4, seed=1).detach()
    with ta.autocast():
        first, second = ta.linear(x, weight).sum(), (2 * ta.linear(x, weight)).sum()
    first.backward()
    second.backward()
    check_values(weight.grad, 3 * np.tile(x.numpy().sum(axis=0), (2, 1)), 2e-3)


def test_a_copy_made_under_no_grad_hides_no_gradient():
    weight, x = drawn(2, 4), drawn(3, 4, seed=1).detach()
    with ta.autocast():
        with ta.no_grad():
            assert not ta.linear(x, weight).requires_grad
        ta.linear(x, weight).sum().backward()
    check_values(weight.grad, np.tile(x.numpy().sum(axis=0), (2, 1)), 2e-3)


def test_a_copy_is_made_anew_after_the_weight_was_written_to():
    weight, x = nn.Parameter(np.ones((1, 2), np.float32)), ta.ones(1, 2)
    optimizer = ta.optim.SGD([weight], lr=1.0)
    with ta.autocast():
        assert ta.linear(x, weight).item() == 2
        ta.linear(x, weight).sum().backward()
        optimizer.step()
        assert ta.linear(x, weight).item() == 0
        with ta.no_grad():
            weight[0, 0] = 7.0
        assert ta.linear(x, weight).item() == 7
        weight.data = weight.data + 1  # another array, as load_state_dict and to() assign
        assert ta.linear(x, weight).item() == 9


def test_a_copy_that_an_op_handed_out_and_that_was_written_to_is_not_used_again():
    @ta.primitive
    def same(x):
        return x

    same.derivatives(x=lambda g: g)
    same.precision = "half"
    weight = nn.Parameter(np.ones(2, np.float32))
    with ta.autocast(), ta.no_grad():
        same(weight)[0] = 5.0
        assert same(weight).tolist() == [1.0, 1.0]


# ---- together with the other modes ---------------------------------------------------------------


def test_no_grad_inside_and_outside():
    x = drawn(2, 2)
    for outer, inner in ((ta.no_grad, ta.autocast), (ta.autocast, ta.no_grad)):
        with outer(), inner():
            y = x @ x
        assert y.dtype == ta.float16 and not y.requires_grad


def test_recompute_runs_the_second_time_in_the_same_types():
    xs, plain = operands(), operands()
    with ta.autocast():
        loss = ta.recompute(little_network, *xs)
        expected = little_network(*plain)
    loss.backward()
    expected.backward()
    assert loss.item() == expected.item()
    for x, other in zip(xs, plain):
        np.testing.assert_array_equal(x.grad.numpy(), other.grad.numpy())


def test_recompute_finds_the_weight_behind_a_copy():
    x, weight = drawn(3, 4), drawn(2, 4)
    with ta.autocast():
        ta.linear(x, weight)
        y = ta.recompute(lambda x: ta.linear(x, weight), x).sum()
    y.backward()
    check_values(weight.grad, np.tile(x.numpy().sum(axis=0), (2, 1)), 2e-3)

    with ta.autocast():
        y = ta.recompute(lambda x: ta.linear(x, weight), x).sum()
    ta.optim.SGD([weight], lr=1.0).step()
    with pytest.raises(GraphError, match=r"recompute needs an array .* overwritten"):
        y.backward()


def test_an_overflow_of_a_cast_is_found_where_it_happens():
    x, weight = ta.full((1, 2), 1e5), drawn(3, 2)
    with ta.autocast(), ta.detect_anomaly():
        with pytest.raises(NonFiniteError, match=r"linear: the forward pass makes .*float32"):
            ta.linear(x, weight)
        y = ta.linear(x / 1e5, weight)
        loss = (y.astype(ta.float32) * 1e5).sum()
        with pytest.raises(NonFiniteError, match="astype: the backward pass makes an infinity"):
            loss.backward()
        loss = (ta.softplus(y) * 1e6).sum()
        with pytest.raises(NonFiniteError, match="softplus: the backward pass makes an infinity"):
            loss.backward()
        loss = (ta.layer_norm(y) * ta.tensor([1e7, 0.0, 0.0])).sum()
        with pytest.raises(NonFiniteError, match="layer_norm: the backward pass makes an inf"):
            loss.backward()


def test_a_bias_beyond_float16_is_infinite_as_in_pytorch_and_found():
    """PyTorch's autocast too casts it in silence: inf, and NaN after the softmax."""
    x, weight, bias = drawn(3, 4), drawn(2, 4), ta.tensor([1e5, 0.0])
    with ta.autocast():
        y = ta.linear(x, weight, bias)
        assert np.isposinf(y.numpy()[:, 0]).all() and np.isfinite(y.numpy()[:, 1]).all()
        assert np.isnan(ta.softmax(y, axis=-1).numpy()).all()
        found = pytest.raises(
            NonFiniteError, match=r"linear: .* makes an infinity, at index \(0, 0"
        )
        with found, ta.detect_anomaly():
            ta.linear(x, weight, bias)
        with ta.autocast(enabled=False):
            assert np.isfinite(ta.linear(x, weight, bias).numpy()).all()


def test_attention_maps_are_those_of_the_model_that_computed():
    layer = nn.MultiheadAttention(8, 2)
    with ta.autocast(), ta.capture_attention() as maps:
        y = layer(drawn(1, 3, 8))
    (weights,) = maps.values()
    assert y.dtype == weights.dtype == ta.float16
    check_values(weights.sum(axis=-1), np.ones((1, 2, 3)), 2e-3)


# ---- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_learn(kind):
    layer = kind(3, 4)
    x, lengths = drawn(2, 5, 3).detach(), ta.tensor([5, 3])
    with ta.autocast():
        y, _ = layer(x, lengths=lengths)
        loss = (y * y).mean()
    loss.backward()
    exact, _ = layer(x, lengths=lengths)
    check_values(y, exact.numpy(), 5e-3)
    assert all(p.grad.dtype == ta.float32 for p in layer.parameters())


@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention_sums_over_its_keys_in_float32(causal):
    layer = nn.LinearAttention(8, 2)
    x = drawn(1, 3000, 8).detach()  # Σ φ(q)φ(k) goes far beyond 65,504
    with ta.autocast():
        y = layer(x * 30, causal=causal)
    check_values(y, layer(x * 30, causal=causal).numpy(), 1e-2)


def test_a_cache_takes_what_a_region_computes():
    config = ta.models.GPTConfig(vocab_size=7, block_size=8, n_layer=2, n_head=2, n_embd=8)
    model = ta.models.GPT(config).eval()
    prompt = ta.tensor([[1, 2, 3]])
    with ta.autocast():
        ids = model.generate(prompt, 4, temperature=0)
        with ta.no_grad():
            logits = model(ids[:, :-1])
    assert logits.dtype == ta.float16
    picked = ta.take_along_axis(logits[:, 2:], ids[:, 3:, None], axis=-1)[..., 0]
    assert (logits[:, 2:].max(axis=-1) - picked).max().item() < 0.02
