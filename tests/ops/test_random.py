"""Random numbers: the same seed gives the same ones, and they are distributed as they should be."""

import json
import math
import threading

import numpy as np
import pytest

import tinygrad_attn as ta

DRAWS = {
    "rand": lambda **o: ta.rand(2, 3, **o),
    "randn": lambda **o: ta.randn((2, 3), **o),
    "uniform": lambda **o: ta.uniform(-1, 1, (5,), **o),
    "normal": lambda **o: ta.normal(3.0, 0.5, 4, **o),
    "truncated_normal": lambda **o: ta.truncated_normal(shape=(5,), **o),
    "randint": lambda **o: ta.randint(0, 10, (5,), **o),
    "randperm": lambda **o: ta.randperm(7, **o),
    "bernoulli": lambda **o: ta.bernoulli(0.5, (9,), **o),
    "keep_mask": lambda **o: ta.keep_mask((3, 5), 0.5, **o),
}


# ---- seeds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_same_seed_gives_the_same_numbers_on_every_device(draw, device):
    first = draw(generator=ta.Generator(5), device=device)
    ta.manual_seed(5)
    again, after = draw(), draw()
    assert first.device.startswith(device)
    assert first.tolist() == again.tolist() != after.tolist()


def test_without_a_seed_no_two_generators_agree():
    first, second = (ta.rand(4, generator=ta.Generator()) for _ in range(2))
    assert first.tolist() != second.tolist()


def test_every_thread_has_a_generator_of_its_own():
    found = {}

    def draw(name, seed):
        ta.manual_seed(seed)
        found[name] = ta.rand(3).tolist()

    ta.manual_seed(1)
    threads = [threading.Thread(target=draw, args=pair) for pair in (("same", 1), ("other", 2))]
    for thread in threads:
        thread.start()
        thread.join()
    assert found["same"] == ta.rand(3).tolist() != found["other"]


def test_a_state_survives_json_and_brings_everything_back():
    generator = ta.Generator(3).spawn(1)
    ta.randn(5, generator=generator)
    ta.randint(0, 9, (1,), generator=generator, dtype=ta.int32)  # leaves half a word behind
    ta.keep_mask((4,), 0.5, generator=generator)
    state = json.loads(json.dumps(generator.get_state()))
    expected = [draw(generator=generator).tolist() for draw in DRAWS.values()]
    other = ta.Generator(8)
    other.set_state(state)
    assert [draw(generator=other).tolist() for draw in DRAWS.values()] == expected


@pytest.mark.parametrize(
    "state", [{}, {"seed": 1}, None, {"seed": 1, "path": [], "bits": {}, "keys": 0}]
)
def test_a_foreign_state_is_refused(state):
    with pytest.raises(ta.CheckpointError, match="no state of a generator"):
        ta.Generator(0).set_state(state)


def test_a_spawned_generator_depends_on_its_keys_alone():
    root = ta.Generator(0)
    early = ta.rand(3, generator=root.spawn(4, 2)).tolist()
    ta.rand(100, generator=root)
    assert ta.rand(3, generator=root.spawn(4, 2)).tolist() == early
    assert ta.rand(3, generator=root.spawn(4).spawn(2)).tolist() == early
    others = [root, root.spawn(2, 4), root.spawn(4), ta.Generator(1).spawn(4, 2)]
    assert early not in [ta.rand(3, generator=other).tolist() for other in others]
    assert repr(root.spawn(4, 2)) == "Generator(0).spawn(4, 2)"


# ---- distributions -------------------------------------------------------------------------------

MANY = 40_000
TOLERANCE = 4 / math.sqrt(MANY)  # four deviations of a mean of numbers with deviation 1


@pytest.fixture
def generator():
    return ta.Generator(11)


def check_moments(x, mean, std):
    x = x.numpy().astype(np.float64)
    assert abs(x.mean() - mean) < TOLERANCE * std
    assert abs(x.std() - std) < TOLERANCE * std


def test_means_and_deviations(generator):
    check_moments(ta.rand(MANY, generator=generator), 0.5, 1 / math.sqrt(12))
    check_moments(ta.uniform(2, 5, (MANY,), generator=generator), 3.5, 3 / math.sqrt(12))
    check_moments(ta.randn(MANY, generator=generator), 0, 1)
    check_moments(ta.normal(-2, 3, MANY, generator=generator), -2, 3)
    check_moments(ta.randint(0, 6, MANY, generator=generator), 2.5, math.sqrt(35 / 12))
    check_moments(ta.bernoulli(0.3, MANY, generator=generator), 0.3, math.sqrt(0.21))
    check_moments(ta.keep_mask(MANY, 0.1, generator=generator), 0.9, 0.3)


@pytest.mark.parametrize(
    ("low", "high", "mean", "std"),
    [
        (-2, 2, 0, 0.8796),
        (-0.1, 0.1, 0, 0.0577),
        (5, math.inf, 5.1865, 0.1829),
        (-math.inf, 0, -0.7979, 0.6028),
    ],
)
def test_truncated_normal_numbers_stay_inside_and_are_normal_there(low, high, mean, std, generator):
    x = ta.truncated_normal(0.0, 1.0, low, high, (MANY,), generator=generator)
    assert low <= ta.min(x).item() <= ta.max(x).item() <= high
    check_moments(x, mean, std)


def test_a_truncated_normal_has_its_bounds_where_they_are_given(generator):
    x = ta.truncated_normal(10.0, 2.0, 9.0, 10.0, (1000,), generator=generator)
    assert 9 <= ta.min(x).item() < 9.1
    assert 9.9 < ta.max(x).item() <= 10


@pytest.mark.parametrize("dtype", [ta.float16, ta.float32, ta.float64])
def test_uniform_numbers_never_round_up_to_1(dtype, generator):
    x = ta.rand(MANY, generator=generator, dtype=dtype)
    assert x.dtype == dtype
    assert 0 <= ta.min(x).item() < ta.max(x).item() < 1


def test_a_permutation_has_every_number_once(generator):
    assert sorted(ta.randperm(20, generator=generator).tolist()) == list(range(20))
    assert ta.randperm(0).shape == (0,)


def test_whole_numbers_fill_their_range_in_any_integer_type(generator):
    x = ta.randint(-2, 2, (200,), generator=generator, dtype=ta.int8)
    assert x.dtype == ta.int8
    assert set(x.tolist()) == {-2, -1, 0, 1}
    assert set(ta.randint(3, shape=(100,), generator=generator).tolist()) == {0, 1, 2}
    assert ta.randint(3).shape == ()


def test_each_probability_has_its_own_chance(generator):
    p = ta.broadcast_to(ta.tensor([0.0, 1.0, 0.25], dtype=ta.float64), (MANY, 3))
    x = ta.bernoulli(p, generator=generator)
    assert x.dtype == ta.float64
    means = ta.mean(x, axis=0).tolist()
    assert means[:2] == [0, 1]
    assert abs(means[2] - 0.25) < TOLERANCE


def test_positions_are_drawn_in_proportion_to_their_weights(generator, device):
    weights = ta.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 2.0]], device=device)
    x = ta.multinomial(weights, MANY, replacement=True, generator=generator)
    assert (x.shape, x.dtype, x.device) == ((2, MANY), ta.int64, weights.device)
    counts = np.stack([np.bincount(line, minlength=4) for line in x.numpy()]) / MANY
    np.testing.assert_allclose(counts, [[0, 0.25, 0.75, 0], [0.5, 0, 0, 0.5]], atol=TOLERANCE)


def test_without_replacement_no_position_comes_twice_and_none_without_weight(generator):
    weights = np.tile([1.0, 0.0, 4.0, 5.0], (MANY, 1))
    x = ta.multinomial(weights, 3, generator=generator).numpy()
    assert (np.sort(x, axis=1) == [0, 2, 3]).all()
    first = np.bincount(x[:, 0], minlength=4) / MANY
    np.testing.assert_allclose(first, [0.1, 0, 0.4, 0.5], atol=TOLERANCE)


def test_nothing_is_drawn_from_no_lines():
    assert ta.multinomial(ta.ones(0, 3), 2).shape == (0, 2)
    assert ta.multinomial(ta.ones(2, 3), 0).shape == (2, 0)
    assert ta.randn(0, 3).shape == (0, 3)


# ---- masks for dropout ---------------------------------------------------------------------------


def test_a_mask_is_a_function_of_its_key(device):
    key = (12345, 6)
    mask = ta.keep_mask((7, 5), 0.4, key=key, device=device)
    assert mask.dtype == ta.bool_
    assert mask.tolist() == ta.keep_mask((7, 5), 0.4, key=key).tolist()
    assert mask.reshape(-1).tolist() == ta.keep_mask(35, 0.4, key=key).tolist()
    for other in ((12346, 6), (12345, 7), (6, 12345)):
        assert mask.tolist() != ta.keep_mask((7, 5), 0.4, key=other).tolist()


def test_a_mask_is_the_same_in_every_version():
    bits = ta.keep_mask(16, 0.5, key=(1, 2)).astype(int).tolist()
    assert bits == [1, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0]


def test_a_smaller_probability_keeps_more_of_the_same():
    little, much = (ta.keep_mask(MANY, p, key=(3, 1)) for p in (0.2, 0.6))
    assert bool((little | ~much).all())
    assert bool(ta.keep_mask(100, 0.0).all())
    assert not bool(ta.keep_mask(100, 1.0).any())


def test_masks_of_neighbouring_elements_keys_and_draws_are_independent():
    generator = ta.Generator(0)
    rows = ta.stack([ta.keep_mask(MANY, 0.5, generator=generator) for _ in range(6)]).numpy()
    spread = np.where(rows, 1.0, -1.0)
    between = np.corrcoef(spread) - np.eye(6)
    along = [(line[:-lag] * line[lag:]).mean() for line in spread for lag in range(1, 9)]
    assert np.abs(between).max() < 1.2 * TOLERANCE
    assert np.abs(along).max() < 1.2 * TOLERANCE


# ---- errors --------------------------------------------------------------------------------------

BAD = [
    (lambda: ta.manual_seed(-1), ta.ShapeError, "seed is -1"),
    (lambda: ta.manual_seed("a"), ta.DTypeError, "seed is 'a'"),
    (lambda: ta.Generator(1.5), ta.DTypeError, "seed is 1.5"),
    (lambda: ta.Generator(0).spawn(-1), ta.ShapeError, "a key is -1"),
    (lambda: ta.rand(2, generator=0), ta.DTypeError, "it must be a ta.Generator"),
    (lambda: ta.rand(-2), ta.ShapeError, "has the size -2"),
    (lambda: ta.randn(2, dtype=int), ta.DTypeError, "dtype is int64; it must be a float"),
    (lambda: ta.uniform(1, 0), ta.ShapeError, "low is 1, high is 0"),
    (lambda: ta.uniform(0, math.inf), ta.ShapeError, "must be finite"),
    (lambda: ta.normal(0, -1), ta.ShapeError, "std is -1"),
    (lambda: ta.truncated_normal(0, 1, 2, 1), ta.ShapeError, "low below high"),
    (lambda: ta.truncated_normal(0, 0), ta.ShapeError, "std must be positive"),
    (lambda: ta.randint(3, 3), ta.ShapeError, "high must be above low"),
    (lambda: ta.randint(5, (3,)), ta.DTypeError, r"high is \(3,\)"),
    (lambda: ta.randint(0, 300, dtype=ta.int8), ta.DTypeError, "beyond what int8 can hold"),
    (lambda: ta.randint(0, 3, dtype=float), ta.DTypeError, "must be an integer type"),
    (lambda: ta.randperm(-1), ta.ShapeError, "n is -1"),
    (lambda: ta.bernoulli(1.5, (2,)), ta.ShapeError, "p is 1.5"),
    (lambda: ta.bernoulli([0.5, math.nan]), ta.ShapeError, "must be in 0..1"),
    (lambda: ta.bernoulli([0.5, 0.5], (3,)), ta.ShapeError, "does not broadcast"),
    (lambda: ta.multinomial([1.0, -1.0], 1), ta.ShapeError, "not negative"),
    (lambda: ta.multinomial([0.0, 0.0], 1), ta.ShapeError, "not all 0"),
    (lambda: ta.multinomial([1.0, math.inf], 1), ta.ShapeError, "must be finite"),
    (lambda: ta.multinomial([0.0, 1.0], 2), ta.ShapeError, "has only 1 that are positive"),
    (lambda: ta.multinomial(1.0, 1), ta.ShapeError, "there must be an axis"),
    (lambda: ta.multinomial(ta.ones(2, 0), 1), ta.ShapeError, "there must be an axis"),
    (lambda: ta.keep_mask(2, 1.1), ta.ShapeError, "p is 1.1"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_impossible_chances_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
