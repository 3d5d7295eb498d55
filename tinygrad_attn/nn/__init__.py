"""Layers: a few lines of ops, with named parameters.

Read ``module`` first, then ``linear``, ``attention`` and ``transformer``. Class names, arguments,
parameter names and the paths of ``state_dict`` are PyTorch's, so that weights can be carried over.
Two things differ on purpose: sequences are always (batch, length, width), and masks say who *may*
attend.

Layers are made in float32 on the CPU; ``model.to("cuda")`` and ``model.to(ta.float64)`` change
that.

One glossary of shapes holds in every layer:

    B   batch: how many sequences
    T   queries: the length of the sequence that looks
    S   keys: the length of the sequence that is looked at; S = T where a sequence looks at itself
    D   model width
    H   heads; Hk heads of keys and values where they are fewer
    E   head width, D / H
    V   vocabulary: how many tokens there are
"""

from . import init
from .activation import (
    ELU,
    GELU,
    GLU,
    SELU,
    Dropout,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from .attention import MultiheadAttention
from .container import Flatten, Identity, ModuleDict, ModuleList, Sequential
from .convolution import CausalConv1d, Conv1d
from .embedding import Embedding
from .feedforward import SwiGLU
from .linear import Linear
from .loss import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from .module import Module
from .norm import LayerNorm, RMSNorm
from .other_attention import AdditiveAttention, LinearAttention
from .parameter import Parameter
from .positions import LearnedPositions, RelativePositionBias, SinusoidalPositions
from .recurrent import GRU, LSTM, RNN
from .transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AdditiveAttention",
    "BCEWithLogitsLoss",
    "CausalConv1d",
    "Conv1d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "LearnedPositions",
    "Linear",
    "LinearAttention",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "RelativePositionBias",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Softsign",
    "SwiGLU",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "init",
]
