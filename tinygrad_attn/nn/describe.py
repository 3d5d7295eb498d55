"""A module as text: its tree, and a table of its parameters."""

from collections import Counter

from .parameter import Parameter

__all__ = ["table", "tree"]


def tree(module):
    """The module and all inside it as an indented tree; equal neighbours share one entry."""
    name, extra = type(module).__name__, module.extra_repr()
    entries = []  # [first name, last name, how many, text]
    for child, inside in module.named_children():
        text = repr(inside)
        if entries and entries[-1][3] == text:
            entries[-1][1:3] = [child, entries[-1][2] + 1]
        else:
            entries.append([child, child, 1, text])
    if not entries:
        return f"{name}({extra})"
    lines = [extra] if extra else []
    for first, last, count, text in entries:
        label = f"({first}): " if count == 1 else f"({first}-{last}): {count} x "
        lines.append(label + text.replace("\n", "\n  "))
    return f"{name}(\n  " + "\n  ".join(lines) + "\n)"


def table(module, depth=None):
    """A line for each module: its name, its class, how many parameters it holds, and its own ones.

    A parameter counts at the path where it is met first; where it is used again, that path is named
    instead of its shape. So the counts add up, and the total is what an optimizer would train.

    Example:
        >>> from tinygrad_attn import nn
        >>> model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))
        >>> model[1].weight = model[0].weight
        >>> print(model.summary())
        module      class       parameters  own
        Sequential  Sequential          50
          0         Embedding           40  weight 10×4
          1         Linear              10  weight = 0.weight, bias 10
        50 parameters, 200 bytes
    """
    parameters = dict(module.named_parameters())
    first_path = {id(parameter): path for path, parameter in parameters.items()}
    counts = Counter()
    for path, parameter in parameters.items():
        parts = path.split(".")
        for i in range(len(parts)):
            counts[".".join(parts[:i])] += parameter.size
    rows = [("module", "class", "parameters", "own")]
    for path, part in module.named_modules():
        level = path.count(".") + 1 if path else 0
        if depth is None or level <= depth:
            name = path.rpartition(".")[2] or type(part).__name__
            own = ", ".join(_own_parameters(path, part, first_path))
            rows.append(("  " * level + name, type(part).__name__, f"{counts[path]:,}", own))
    return "\n".join([*_aligned(rows), _total(parameters.values())])


def _own_parameters(path, part, first_path):
    """Each parameter of one module: "weight 10×4", or "weight = wte.weight" if it was met there."""
    for name, value in vars(part).items():
        if isinstance(value, Parameter):
            met = first_path[id(value)]
            here = f"{path}.{name}" if path else name
            size = "×".join(map(str, value.shape)) or "scalar"
            yield f"{name} {size}" if met == here else f"{name} = {met}"


def _aligned(rows):
    """The rows as lines: text to the left, the numbers in the third column to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for name, kind, count, own in rows:
        yield f"{name:{widths[0]}}  {kind:{widths[1]}}  {count:>{widths[2]}}  {own}".rstrip()


def _total(parameters):
    """ "50 parameters, 10 of them frozen, 200 bytes"."""
    parameters = list(parameters)
    total = sum(p.size for p in parameters)
    frozen = sum(p.size for p in parameters if not p.requires_grad)
    bytes_in_all = sum(p.nbytes for p in parameters)
    return (
        f"{total:,} parameters, "
        + (f"{frozen:,} of them frozen, " if frozen else "")
        + f"{bytes_in_all:,} bytes"
    )
