"""The table of ops in ``docs/ops.md`` is what its script makes, and lists everything promised."""

import importlib.util
import re
from pathlib import Path

import pytest

import tinygrad_attn as ta

SCRIPT = Path(__file__).parents[1] / "docs" / "make_ops_table.py"
PROMISED = {
    "Elementwise": """
        add subtract multiply divide power negative absolute sign square sqrt rsqrt reciprocal exp
        expm1 exp2 log log1p log2 log10 sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh
        arccosh arctanh arctan2 erf erfc sigmoid logit softplus log_sigmoid relu leaky_relu relu6
        elu selu silu mish gelu softsign glu maximum minimum clip where lerp hypot logaddexp xlogy
        nan_to_num floor ceil round trunc remainder floor_divide equal not_equal less less_equal
        greater greater_equal logical_and logical_or logical_xor logical_not isnan isinf isfinite
    """,
    "Reductions": """
        sum mean prod max min argmax argmin var std norm logsumexp all any count_nonzero cumsum
        cumprod logcumsumexp nansum nanmean
    """,
    "Shape": """
        reshape ravel flatten unflatten transpose matrix_transpose swapaxes moveaxis squeeze
        expand_dims broadcast_to broadcast_arrays concatenate stack split unstack repeat tile flip
        roll pad tril triu diagonal diag trace meshgrid
    """,
    "Index": """
        index_put index_add take take_along_axis put_along_axis scatter_add masked_fill
        masked_select one_hot sort argsort topk nonzero searchsorted embedding
    """,
    "Linear algebra": "matmul dot vdot outer inner tensordot einsum linear kron cdist",
    "Sequences": """
        conv1d max_pool1d avg_pool1d softmax log_softmax layer_norm rms_norm normalize
        cosine_similarity dropout scaled_dot_product_attention rope
    """,
    "Losses": """
        cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss
        binary_cross_entropy_with_logits kl_div
    """,
    "Creation and random": """
        tensor asarray from_numpy from_dlpack zeros ones full empty zeros_like ones_like full_like
        empty_like arange linspace eye rand randn randint randperm bernoulli multinomial normal
        uniform truncated_normal
    """,
}
FLAT = set("equal not_equal less less_equal greater greater_equal isnan isinf isfinite".split())
FLAT |= set("logical_and logical_or logical_xor logical_not argmax argmin all any".split())
FLAT |= set("count_nonzero one_hot argsort nonzero searchsorted".split())


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_ops_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(script):
    """{name of an op: the cells of its row after what it is: orders, NumPy, cpu, …}."""
    found = {}
    for line in script.PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            titles, _, *cells = re.split(r"(?<!\\)\|", line)[1:-1]
            for name in re.findall(r"`([^`]+)`", titles):
                found[name] = [cell.strip() for cell in cells]
    return found


def test_the_page_is_what_the_script_makes(script):
    """Otherwise: ``python -m docs.make_ops_table``."""
    assert script.page() == script.PAGE.read_text(encoding="utf-8")


def test_every_public_op_has_a_row_and_evidence(script, rows):
    names = set(ta.ops.__all__) - script.NO_OPS
    assert names - set(rows) == set()
    assert [name for name, (_, _, cpu, _, _) in rows.items() if cpu != "✓"] == []


@pytest.mark.parametrize("area", PROMISED)
def test_what_was_promised_is_there_and_works(area, rows):
    names = PROMISED[area].split()
    assert [name for name in names if not callable(getattr(ta, name, None))] == []
    assert [name for name in names if name not in rows] == []


def test_every_op_is_tried_on_the_standin(rows):
    on_the_host = {name for name, (_, _, _, standin, _) in rows.items() if standin != "✓"}
    assert on_the_host == {"from_numpy", "from_dlpack"}


def test_derivatives_are_tested_to_the_second_order_at_least(rows):
    areas = set(PROMISED) - {"Creation and random"}
    smooth = {name for area in areas for name in PROMISED[area].split()} - FLAT
    assert [name for name in sorted(smooth) if not rows[name][0].startswith("1 2")] == []
    assert [name for name in sorted(FLAT) if rows[name][0] != "none"] == []


def test_the_reading_order_names_every_page_of_ops(script):
    named = {op.__module__.split(".ops.")[1] for op in script.ops()}
    assert named == set(script.READING_ORDER)
