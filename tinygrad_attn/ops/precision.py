"""What runs in 16 bits and what in float32 under ``autocast``: the whole policy, on one page.

It is PyTorch's for CUDA, under the names that ops have here, and with what is of the same kind:
``exp2`` beside ``exp``, ``mean``, ``var`` and ``std`` beside ``sum``. An op that is composed of
others and not in the table computes as these do.

    HALF      A product of matrices sums in float32 inside, whatever its operands are: rounding
              these costs little and gains most.
    FLOAT32   Sums, in which small terms would be lost; exponentials, powers and reciprocals, which
              leave the range of float16 soon; the logarithms that undo them; what is built of all
              these: softmax, norms, losses.
"""

from ..core.autocast import RULES

__all__ = ["FLOAT32", "HALF"]

HALF = """
    matmul linear packed_linear einsum conv1d
    scaled_dot_product_attention packed_attention
""".split()

FLOAT32 = """
    exp exp2 expm1 log log1p log2 log10 arccos arcsin cosh sinh tan
    power square reciprocal rsqrt softplus
    sum mean var std prod norm logsumexp cumsum cumprod logcumsumexp nanmean
    softmax log_softmax layer_norm rms_norm normalize cosine_similarity cdist
    cross_entropy nll_loss binary_cross_entropy_with_logits kl_div
    mse_loss l1_loss smooth_l1_loss huber_loss
""".split()

RULES.update({**dict.fromkeys(HALF, "half"), **dict.fromkeys(FLOAT32, "float32")})
