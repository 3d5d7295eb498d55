"""Write pytorch_figures.json anew, with PyTorch: python -m tests.nn.make_pytorch_figures."""

import json

import numpy as np
import torch

from .figures import CASES, FIGURES, digest, pattern, weights

# for each class, how PyTorch calls the masks: its mask of pairs, of its own keys, of the other's
# keys
NAMES = {
    "MultiheadAttention": ("attn_mask", "key_padding_mask", None),
    "TransformerEncoderLayer": ("src_mask", "src_key_padding_mask", None),
    "TransformerDecoderLayer": ("tgt_mask", "tgt_key_padding_mask", "memory_key_padding_mask"),
    "Transformer": ("tgt_mask", "src_key_padding_mask", "memory_key_padding_mask"),
}


def theirs(kind, shapes, masks):
    """Our masks under PyTorch's names, with its polarity."""
    pairs, own, other = NAMES[kind]
    options = {}
    if masks.get("causal"):
        length = shapes[-1 if kind == "Transformer" else 0][1]
        options[pairs] = torch.ones(length, length).triu(1).bool()
    if "bias" in masks:
        options[pairs] = torch.tensor(masks["bias"])
    for ours, name in (("key_mask", own), ("cross_key_mask", other), ("source_key_mask", own)):
        if ours in masks:
            options[name] = torch.tensor(~masks[ours])
    if "source_key_mask" in masks:
        options[other] = options[own]
    return options


def run(kind, args, options, shapes, masks):
    """What a layer of PyTorch gives, and the digests of its gradients."""
    layer = getattr(torch.nn, kind)(*args, **options, batch_first=True).eval()
    values = weights({name: tuple(p.shape) for name, p in layer.state_dict().items()})
    layer.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    inputs = [torch.tensor(pattern(shape, i), requires_grad=True) for i, shape in enumerate(shapes)]
    given = inputs if kind != "MultiheadAttention" else (inputs + inputs[-1:] * 2)[:3]
    y = layer(*given, **theirs(kind, shapes, masks))
    y = y[0] if isinstance(y, tuple) else y
    y.backward(torch.tensor(pattern(tuple(y.shape), 3)))
    gradients = {f"input {i}": x.grad for i, x in enumerate(inputs)}
    gradients |= {name: p.grad for name, p in layer.named_parameters()}
    return {
        "y": np.round(y.detach().numpy().astype(float), 6).ravel().tolist(),
        "gradients": {name: round(digest(g.numpy()), 6) for name, g in gradients.items()},
    }


if __name__ == "__main__":
    cases = {name: run(*case) for name, case in CASES.items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    made_by = json.dumps(f"PyTorch {torch.__version__}")
    text = f'{{"made by": {made_by}, "cases": {{\n{lines}\n}}}}\n'
    FIGURES.write_text(text, encoding="utf-8")
