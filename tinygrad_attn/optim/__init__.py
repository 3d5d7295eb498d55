"""Optimizers, schedules of the learning rate, clipping, the scale of a loss in float16.

    optimizer = optim.AdamW(optim.decay_groups(model, weight_decay=0.1), lr=3e-4)
    schedule = optim.cosine(3e-4, steps=2000, warmup=100)

    for step in range(2000):
        loss = ...
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.lr = schedule(step)
        optimizer.step()

Read ``optimizer`` first: groups, state, and the step in place. Names and arguments are PyTorch's;
schedules are plain functions.
"""

from .adam import Adam, AdamW
from .clip import clip_grad_norm_, clip_grad_value_
from .optimizer import Optimizer, decay_groups
from .scaler import GradScaler
from .schedules import constant, cosine, inverse_sqrt, linear, linear_warmup
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "GradScaler",
    "Optimizer",
    "clip_grad_norm_",
    "clip_grad_value_",
    "constant",
    "cosine",
    "decay_groups",
    "inverse_sqrt",
    "linear",
    "linear_warmup",
]
