"""gradcheck as its user meets it: what it takes, what it returns, what it says."""

import numpy as np
import pytest

import tinygrad_attn as ta
import tinygrad_attn.nn
from tests.checking.planting import plant
from tinygrad_attn.checking import check_module, gradcheck
from tinygrad_attn.core import Tensor

half = ta.primitive(lambda x: x * x).derivatives(x=lambda g, x: g * x)  # forgets the 2


def f64(*shape, low=0.5, high=1.5, seed=0):
    return Tensor(np.asarray(np.random.default_rng(seed).uniform(low, high, shape)))


# ---- what it takes -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_shape_and_order(shape, order):
    assert gradcheck(lambda x: ta.exp(x) * x, f64(*shape), order=order)


def test_lists_dicts_and_whole_numbers_among_the_arguments():
    def fn(pair, table, count, ids, nothing=None):
        assert ids.dtype == ta.int64 and nothing is None
        return {"sum": pair[0] + pair[1][0], "scaled": [table["w"] * count, ids * 2]}

    inputs = [(f64(2), [f64(2)]), {"w": f64(3)}, 5, ta.tensor([1, 2])]
    assert gradcheck(fn, inputs, order=2)


def test_named_arguments():
    assert gradcheck(lambda a, b: a * b, {"b": f64(2), "a": f64(2)})


def test_one_tensor_in_two_places_is_one_variable():
    x = f64(3)
    report = gradcheck(lambda a, b: a * b, (x, x), order=2)
    assert report
    assert "3 × 3" in str(report)  # not 3 × 6


def test_a_module_is_checked_in_its_parameters_and_inputs():
    model = tinygrad_attn.nn.Linear(3, 2)
    before = {name: p.data for name, p in model.named_parameters()}
    report = check_module(model, ta.randn(4, 3))
    assert report
    assert "8 × 20" in str(report)
    assert all(p.data is before[name] for name, p in model.named_parameters())


def test_a_module_among_the_arguments_keeps_its_numbers_and_gradients():
    model = tinygrad_attn.nn.Linear(2, 2)
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
        p.requires_grad_(False).requires_grad_()
    before = [(p.data, p.node) for p in model.parameters()]
    assert gradcheck(lambda m, x: (m(x) ** 2).sum(), (model, f64(3, 2)), order=2)
    assert all(p.data is d and p.node is n for p, (d, n) in zip(model.parameters(), before))
    assert all(p.grad is None for p in model.parameters())


def test_the_inputs_are_left_as_they_were():
    x = f64(3)
    kept = x.numpy().copy()
    gradcheck(ta.exp, x, order=2)
    np.testing.assert_array_equal(x.numpy(), kept)
    assert not x.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_low_precision_is_refused_with_the_reason(dtype):
    with pytest.raises(ta.DTypeError, match=f"x is {dtype}.*rounding error.*float64"):
        gradcheck(ta.exp, f64(3).astype(dtype))


@pytest.mark.parametrize(
    ("fn", "inputs", "message"),
    [
        (ta.exp, 3.0, "no float tensor among the inputs"),
        (ta.exp, ta.tensor([1, 2]), "no float tensor among the inputs"),
        (lambda x: x.data, f64(2), "returned ndarray, which holds no float tensor"),
        (lambda x: x > 1, f64(2), "returned a tensor of bool"),
    ],
)
def test_nothing_to_differentiate(fn, inputs, message):
    with pytest.raises(ta.DTypeError, match=message):
        gradcheck(fn, inputs)


@pytest.mark.parametrize(
    "options",
    [{"order": 0}, {"order": 1.5}, {"directions": 0}, {"method": "dual"}, {"mode": "fast"}],
    ids=str,
)
def test_options_that_cannot_be(options):
    with pytest.raises(ta.ShapeError, match=f"gradcheck: {next(iter(options))} is"):
        gradcheck(ta.exp, f64(2), **options)


# ---- what it returns -----------------------------------------------------------------------------


def test_a_report_is_true_or_false_and_prints():
    good, bad = gradcheck(ta.exp, f64(3)), gradcheck(half, f64(3))
    assert good and not bad
    assert repr(good) == "<gradcheck of exp passed: order 1, 11 checks>"
    assert str(good).startswith("gradcheck of exp: passed")
    assert "order 1" in str(good) and "complex step" in str(good)


def test_a_finding_names_op_argument_index_both_numbers_and_the_cause():
    x = Tensor(np.array([[0.5, 3.0], [1.0, 0.25]]))
    rule = ta.primitive(lambda a: ta.backend.namespace(a).exp(a))
    rule.derivatives(a=lambda g, y: g * ta.backend.namespace(y).where(y > 10, 2 * y, y))
    (finding,) = gradcheck(rule, x).findings
    assert (finding.argument, finding.index) == ("a", (0, 1))
    assert finding.gradient == pytest.approx(2 * np.exp(3))
    assert finding.expected == pytest.approx(np.exp(3))
    assert "∂y[0, 1]/∂a[0, 1] is 40.1711 by the graph, 20.0855 by complex step" in finding.message


def test_an_assertion_shows_the_finding():
    report = gradcheck(half, f64(3))
    assert "off by a factor of 2" in repr(report)
    assert len(repr(report)) < 240 and "\n" not in repr(report)  # pytest shows all of it


def test_raising_on_failure():
    with pytest.raises(ta.GradcheckError, match="off by a factor of 2") as caught:
        gradcheck(half, f64(3), raise_on_failure=True)
    assert isinstance(caught.value, AssertionError)
    assert gradcheck(ta.exp, f64(3), raise_on_failure=True)


def test_the_op_is_named_with_those_before_it():
    (finding,) = gradcheck(lambda x: half(ta.exp(x)).sum(), f64(3)).findings
    assert finding.op == "sum (after <lambda>, exp)"


# ---- what it looks at ----------------------------------------------------------------------------


def test_large_inputs_are_projected_and_the_culprit_is_found():
    rule = ta.primitive(lambda x: x * x * x)
    rule.derivatives(x=lambda g, x: g * 3 * x * x * (1 + 0.1 * (x == 1.2345).astype(x.dtype)))
    x = f64(40, 50)
    x.data[17, 31] = 1.2345
    (finding,) = gradcheck(rule, x).findings
    assert finding.index == (17, 31)
    assert finding.gradient / finding.expected == pytest.approx(1.1)


def test_large_inputs_get_a_likely_cause_too():
    (finding,) = gradcheck(half, f64(3000)).findings
    assert finding.cause == "off by a factor of 2, too small"


def test_the_mode_can_be_chosen():
    assert "random directions" in str(gradcheck(ta.exp, f64(3), mode="random"))
    assert "200 × 200" in str(gradcheck(ta.negative, f64(200), mode="full"))


def test_a_fault_of_the_second_order_is_found_at_order_2_only():
    fault = plant(
        "square", "", "", x=lambda g, x: g * 2 * (x.detach() if isinstance(x, Tensor) else x)
    )
    assert gradcheck(fault.op, f64(3))
    (finding,) = gradcheck(fault.op, f64(3), order=2).findings
    assert finding.message.startswith("∂(∂x[") and "cut off from the graph" in finding.cause


def test_a_detached_argument_is_named():
    (finding,) = gradcheck(lambda x, scale: x * scale.detach(), (f64(3), f64())).findings
    assert finding.argument == "scale" and "no gradient arrives" in finding.cause


def test_an_unused_argument_is_no_mistake():
    assert gradcheck(lambda x, unused: x * 2, (f64(3), f64(2)), order=2)


def test_random_numbers_inside_are_reported_as_such():
    (finding,) = gradcheck(lambda x: x + ta.randn(3), f64(3)).findings
    assert finding.kind == "not deterministic"


def test_an_output_that_is_not_finite_is_reported_as_such():
    (finding,) = gradcheck(lambda x: 1 / (x - x), f64(2)).findings
    assert finding.kind == "not finite" and "y[0] is inf" in finding.message


def test_a_rule_that_raises_is_a_finding_with_its_place():
    rule = ta.primitive(lambda x: x * x).derivatives(x=lambda g, x: g * x.missing)
    findings = gradcheck(rule, f64(3)).findings
    assert findings[0].kind == "error"
    assert "AttributeError" in findings[0].message and "test_gradcheck.py:" in findings[0].message


def test_narrowing_is_a_finding():
    report = gradcheck(lambda x: x.astype(ta.float32) * 2, f64(3))
    assert report.findings[0].message == "y is float32, though every input is float64"


def test_a_deliberate_astype_is_no_widening():
    assert gradcheck(lambda x: (x.astype(ta.float64) * 2).sum(), f64(3))


def test_audits_can_be_left_out():
    report = gradcheck(ta.exp, f64(3), audits=False)
    assert "layouts in memory" not in str(report) and "order 1" in str(report)


# ---- kinks ---------------------------------------------------------------------------------------

AT_A_KINK = [
    (ta.absolute, [0.0, 1.0], "-1 to the left and 1 to the right; the graph says 0"),
    (ta.relu, [1.0, 0.0], "0 to the left and 1 to the right; the graph says 0"),
    (lambda x: ta.max(x), [1.0, 1.0], "0 to the left and 1 to the right; the graph says 0.5"),
    (ta.sqrt, [0.0], "not finite to the left"),
    (ta.floor, [2.0], "to the left"),
]


@pytest.mark.parametrize(("fn", "values", "said"), AT_A_KINK)
def test_a_kink_is_called_a_kink(fn, values, said):
    report = gradcheck(fn, Tensor(np.array(values)))
    assert {finding.kind for finding in report.findings} == {"kink"}
    assert said in report.findings[0].message


def test_a_kink_among_many_elements_is_located():
    x = f64(3000)
    x.data[1234] = 0
    report = gradcheck(lambda x: ta.absolute(x).sum(), x)
    assert [(finding.kind, finding.index) for finding in report.findings] == [("kink", (1234,))]


def test_a_slope_between_left_and_right_can_be_accepted():
    ties = Tensor(np.array([1.0, 1.0, 0.0]))
    assert gradcheck(lambda x: ta.max(x), ties, allow_kinks=True)
    steep = plant("absolute", "", "", x=lambda g, x: g * 1.5)
    assert not gradcheck(steep.op, Tensor(np.zeros(2)), allow_kinks=True)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_a_step_across_a_kink_is_shortened(distance):
    x = Tensor(np.array([distance, -distance, 1.0]))
    assert gradcheck(ta.absolute, x, method="central")
    assert gradcheck(ta.relu, x, method="central")


# ---- methods -------------------------------------------------------------------------------------


def test_complex_steps_agree_to_twelve_digits():
    report = gradcheck(
        lambda x: ta.exp(x) / (1 + x**3), f64(5), order=3, method="complex", rtol=1e-12
    )
    assert report, report


@pytest.mark.parametrize(
    ("fn", "reason"),
    [(ta.absolute, "cannot take complex numbers"), (lambda x: x * ta.absolute(x), "not analytic")],
)
def test_complex_steps_are_refused_where_they_would_be_wrong(fn, reason):
    with pytest.raises(ta.DTypeError, match=reason):
        gradcheck(fn, f64(3, low=-1), method="complex")


def test_where_complex_steps_fail_differences_take_over():
    assert "central differences" in str(gradcheck(ta.absolute, f64(3, low=-1.0, high=-0.5)))
    assert "complex step" in str(gradcheck(ta.sin, f64(3)))


def test_the_sweep_draws_its_v():
    sweep = gradcheck(ta.exp, f64(3), sweep=True).sweep
    errors = [central for _, _, central, _ in sweep.rows]
    best = errors.index(min(errors))
    assert 3 <= best <= 7  # steps of 1e-4 to 1e-8
    assert errors[0] > 1e-4 and errors[-1] > 1e-4 and errors[best] < 1e-8
    assert sweep.rows[-1][3] < 1e-12  # the complex step has no right arm
    assert "step" in str(sweep) and "█" in str(sweep)


def test_on_every_device(device):
    x, y = f64(2, 3).to(device), f64(3).to(device)
    assert gradcheck(lambda x, y: ta.softmax(x * y), (x, y), order=2)
    assert not gradcheck(half, x)


@pytest.mark.parametrize("seed", range(5))
def test_a_derivative_that_is_nothing_but_rounding_passes(seed):
    x = ta.randn(2, 1, generator=ta.Generator(seed), dtype=ta.float64)
    x = ta.where(x < 0, x - 1, x + 1)
    for fn in (lambda x: ta.normalize(x, axis=-1), lambda x: ta.sin(x) ** 2 + ta.cos(x) ** 2):
        report = gradcheck(fn, x, order=2)
        assert report, str(report)
