"""Products of every rank, how many matrix products they cost, and what they refuse."""

import itertools

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend.cpu import CpuBackend

RNG = np.random.default_rng(0)
LEFT = [(3,), (2, 3), (5, 2, 3), (1, 2, 3), (4, 1, 2, 3)]
RIGHT = [(3,), (3, 2), (5, 3, 2), (1, 3, 2), (4, 5, 3, 2)]


def random(*shape):
    return ta.tensor(RNG.normal(size=shape), requires_grad=True)


@pytest.mark.parametrize(("left", "right"), list(itertools.product(LEFT, RIGHT)))
def test_matmul_of_every_two_ranks(left, right):
    a, b = random(*left), random(*right)
    np.testing.assert_allclose((a @ b).numpy(), a.numpy() @ b.numpy())
    report = ta.gradcheck(ta.matmul, (a, b), order=2)
    assert report, report


@pytest.mark.parametrize(
    ("fn", "shapes"),
    [
        (ta.matmul, [(2, 3), (3, 2)]),
        (ta.matmul, [(2, 2, 3), (3, 2)]),
        (ta.matmul, [(2, 3), (2, 3, 2)]),
        (lambda a, b: ta.einsum("iij,jk->ki", a, b), [(2, 2, 3), (3, 2)]),
    ],
)
def test_third_derivatives(fn, shapes):
    report = ta.gradcheck(lambda a, b: ta.exp(fn(a, b)), [random(*s) for s in shapes], order=3)
    assert report, report


@pytest.fixture
def products(monkeypatch):
    """The shapes of the operands of every matrix product that the backend computes."""
    seen, matmul = [], CpuBackend.matmul

    def spy(self, a, b):
        seen.append((a.shape, b.shape))
        return matmul(self, a, b)

    monkeypatch.setattr(CpuBackend, "matmul", spy)
    return seen


def test_tokens_and_a_weight_are_three_tall_products(products):
    tokens, weight = random(4, 5, 3), random(3, 2)
    (tokens @ weight).sum().backward()
    assert products == [((20, 3), (3, 2)), ((20, 2), (2, 3)), ((3, 20), (20, 2))]


def test_a_weight_and_a_stack_have_one_product_for_the_gradient_of_the_weight(products):
    weight, stack = random(2, 3), random(5, 3, 4)
    ta.grad((weight @ stack).sum(), weight)
    assert products[1:] == [((2, 20), (20, 3))]


def test_einsum_is_one_product_forward_and_one_for_each_gradient(products):
    q, k = random(2, 5, 3, 4), random(2, 6, 3, 4)  # (batch, length, heads, width)
    ta.einsum("bqhd,bkhd->bhqk", q, k).sum().backward()
    assert products[0] == ((2, 3, 5, 4), (2, 3, 4, 6))
    assert len(products) == 3


def test_einsum_multiplies_the_cheapest_pair_first(products):
    a, b, c = ta.ones(50, 2), ta.ones(2, 50), ta.ones(50, 2)
    ta.einsum("ij,jk,kl->il", a, b, c)
    assert products == [((2, 50), (50, 2)), ((50, 2), (2, 2))]


def test_the_derivative_of_einsum_is_einsum():
    a, b = random(2, 3), random(3, 4)
    da = ta.grad(ta.einsum("ij,jk->ki", a, b).sum(), a, create_graph=True)
    copied = da.node  # what ta.grad gives out is nobody else's
    assert [copied.op.name, copied.parents[0].op.name] == ["copy", "einsum"]


def test_half_precision_adds_up_in_single():
    a, b = ta.ones(1, 4099, dtype=ta.float16), ta.ones(4099, 1, dtype=ta.float16)
    for y in (a @ b, ta.einsum("ij,jk", a, b), ta.vdot(a, b)):
        assert (
            y.dtype == ta.float16 and y.item() == 4100
        )  # nearest to 4099; in half it ends at 2048


def test_whole_numbers_stay_whole():
    a = ta.tensor([[1, 2], [3, 4]])
    for y in (a @ a, ta.einsum("ij,jk", a, a), ta.kron(a, a), ta.outer(a, a)):
        assert y.dtype == ta.int64
    assert (a @ a).tolist() == [[7, 10], [15, 22]]


def test_arrays_and_lists_may_stand_on_either_side():
    a, x = np.arange(6.0).reshape(2, 3), ta.tensor([1.0, 2.0, 3.0])
    assert isinstance(a @ x, ta.Tensor) and (a @ x).tolist() == [8, 26]
    assert (x @ a.T).tolist() == [8, 26]
    assert (x @ [1, 0, 1]).item() == 4


def test_a_sum_over_nothing_is_0():
    a, b = random(2, 0), random(0, 3)
    assert (a @ b).tolist() == np.zeros((2, 3)).tolist()
    da, db = ta.grad(ta.einsum("ij,jk->ik", a, b).sum(), (a, b))
    assert da.shape == (2, 0) and db.shape == (0, 3)


def test_dot_with_a_number_is_a_multiple():
    x = ta.tensor([1.0, 2.0])
    assert ta.dot(3, x).tolist() == x.dot(3.0).tolist() == ta.inner(x, 3).tolist() == [3, 6]


def test_implicit_output_is_in_alphabetical_order_after_the_ellipsis():
    x = random(2, 3, 4)
    np.testing.assert_array_equal(ta.einsum("cba", x).numpy(), x.numpy().T)
    np.testing.assert_array_equal(ta.einsum("z...a", x).numpy(), np.einsum("z...a", x.numpy()))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("i,i", [(1,), (3,)]),
        ("ij,jk", [(2, 1), (3, 4)]),
        ("ij,ij->ij", [(2, 1), (1, 3)]),
        ("...i,...i->...i", [(1, 3), (2, 3)]),
    ],
)
def test_sizes_of_1_are_stretched(subscripts, shapes):
    xs = [random(*shape) for shape in shapes]
    expected = np.einsum(subscripts, *[x.numpy() for x in xs])
    np.testing.assert_allclose(ta.einsum(subscripts, *xs).numpy(), expected)
    report = ta.gradcheck(lambda *xs: ta.einsum(subscripts, *xs), xs, order=2)
    assert report, report


def test_spaces_in_subscripts_mean_nothing():
    assert ta.einsum(" i j , j -> i ", ta.ones(2, 3), ta.ones(3)).tolist() == [3, 3]


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, float("inf")])
def test_equal_rows_are_at_distance_0_with_slope_0(p):
    a = ta.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    y = ta.cdist(a, a.detach(), p)
    assert [y[0, 0].item(), y[1, 1].item()] == [0, 0]
    assert ta.grad(y[0, 0], a).tolist() == [[0, 0], [0, 0]]


def test_distances_of_extreme_orders():
    a, b = ta.tensor([[1.0, 2.0, 3.0]]), ta.tensor([[1.0, 0.0, 7.0]])
    assert ta.cdist(a, b, float("inf")).item() == 4 and ta.cdist(a, b, 0).item() == 2


ONES = {shape: np.ones(shape) for shape in [(), (2,), (3,), (2, 3), (3, 2), (2, 3, 4), (5, 6)]}
TWO, THREE, WIDE, TALL, STACK, NUMBER = (
    ONES[s] for s in [(2,), (3,), (2, 3), (3, 2), (2, 3, 4), ()]
)


@pytest.mark.parametrize(
    ("fn", "args", "message"),
    [
        (
            ta.matmul,
            (STACK, ONES[5, 6]),
            "matmul: inner sizes differ: a is (2, 3, 4), b is (5, 6); a.shape[-1] must equal "
            "b.shape[-2]",
        ),
        (ta.matmul, (WIDE, TWO), "a is (2, 3), b is (2,); a.shape[-1] must equal b.shape[0]"),
        (
            ta.matmul,
            (STACK, np.ones((3, 4, 6))),
            "matmul: stacks of matrices do not broadcast: a is (2, 3, 4), b is (3, 4, 6); of "
            "a.shape[:-2] and b.shape[:-2], counted from the last axis, sizes must be equal or 1",
        ),
        (ta.matmul, (THREE, NUMBER), "a is (3,), b is (), and a number has no axis to sum over"),
        (ta.matmul, (ta.ones(3), 2.0), "use a * b, or give each an axis"),
        (ta.dot, (WIDE, WIDE), "dot: sizes to sum over differ: a is (2, 3), b is (2, 3)"),
        (ta.inner, (WIDE, TALL), "inner: sizes to sum over differ"),
        (ta.vdot, (WIDE, TWO), "vdot: a is (2, 3), b is (2,); they must have as many elements"),
        (ta.tensordot, (WIDE, TALL), "a.shape[0] must equal b.shape[0]"),
        (ta.tensordot, (WIDE, TALL, 3), "cannot sum over 3 axes: a is (2, 3), b is (3, 2)"),
        (ta.tensordot, (WIDE, TALL, ((0, 0), (0, 1))), "axis (0, 0) names an axis twice"),
        (ta.tensordot, (WIDE, TALL, ((0, 1), 0)), "axes pairs (0, 1) with 0"),
        (ta.tensordot, (WIDE, TALL, (1, 2, 3)), "give a number, or (axes of a, axes of b)"),
        (ta.cdist, (WIDE, TALL), "cdist: a is (2, 3), b is (3, 2); both must be rows of one width"),
        (ta.cdist, (WIDE, WIDE, -1), "cdist: p is -1; it must be 0 or more"),
        (
            ta.einsum,
            ("ij,jk", WIDE, WIDE),
            "einsum \"ij,jk\": 'j' is both 3 and 2 (xs[0] is (2, 3), xs[1] is (2, 3)); "
            "one letter has one size, or 1",
        ),
        (ta.einsum, ("ii", np.ones((1, 3))), "'i' is both 1 and 3"),
        (ta.einsum, ("ij", WIDE, WIDE), "there are subscripts for 1 operands, but 2 operands"),
        (ta.einsum, ("ij",), "but 0 operands (no operands)"),
        (ta.einsum, ("i.j", WIDE), "'i.j' is not made of letters and at most one ellipsis"),
        (ta.einsum, ("i1", WIDE), "'i1' is not made of letters"),
        (ta.einsum, ("ij->i->j", WIDE), "'i->j' is not made of letters"),
        (ta.einsum, ("ijk", WIDE), "'ijk' labels 3 axes, but xs[0] has 2"),
        (ta.einsum, ("i", WIDE), "'i' labels 1 axes, but xs[0] has 2"),
        (ta.einsum, ("ij->jj", WIDE), "'j' stands twice in the result"),
        (ta.einsum, ("ij->k", WIDE), "'k' is in the result but in no operand"),
        (ta.einsum, ("...j->j", WIDE), "an ellipsis cannot vanish"),
    ],
)
def test_what_does_not_fit_is_a_shape_error(fn, args, message):
    with pytest.raises(ta.ShapeError) as caught:
        fn(*args)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fn", "args", "message"),
    [
        (ta.matmul, (ta.ones(3), "abc"), "matmul: str holds no real numbers"),
        (ta.matmul, (None, ta.ones(3)), "matmul: a is no tensor: a is None"),
        (ta.tensordot, (WIDE, TALL, 1.5), "tensordot: axes is 1.5"),
        (ta.einsum, (WIDE, [0, 1]), 'the subscripts are a string such as "ij,jk->ik", not ndarray'),
    ],
)
def test_what_is_no_tensor_is_a_dtype_error(fn, args, message):
    with pytest.raises(ta.DTypeError) as caught:
        fn(*args)
    assert message in str(caught.value)
