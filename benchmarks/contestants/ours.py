"""We: ``models.GPT`` and ``optim.AdamW``, as a user writes the step."""

import tinygrad_attn as ta

from .problem import ADAMW


class Run:
    """The model and its optimizer."""

    def __init__(self, problem, threads):
        V, T, _, D, L, H = problem.sizes
        config = ta.models.GPTConfig(V, T, n_layer=L, n_head=H, n_embd=D, dropout=0.0)
        self.model = ta.models.GPT(config)
        self.model.load_state_dict(problem.weights)
        self.optimizer = ta.optim.AdamW(self.model.parameters(), **ADAMW)
        self.ids, self.target = ta.tensor(problem.ids), ta.tensor(problem.target)

    def loss(self):
        """The mean cross entropy of the batch."""
        return ta.cross_entropy(self.model(self.ids), self.target)

    def step(self):
        """Forward, backward and update; returns the loss."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def gradients(self):
        """(the loss, {name: gradient})."""
        loss = self.loss()
        loss.backward()
        return loss.item(), {n: p.grad.numpy() for n, p in self.model.named_parameters()}
