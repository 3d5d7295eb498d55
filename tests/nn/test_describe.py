"""A module as text: the tree of repr and the table of summary, as they are printed."""

from textwrap import dedent

from tinygrad_attn import nn


def model():
    model = nn.Sequential(
        {
            "tokens": nn.Embedding(10, 4),
            "blocks": nn.ModuleList([nn.Linear(4, 4) for _ in range(3)]),
            "head": nn.Linear(4, 10, bias=False),
        }
    )
    model.head.weight = model.tokens.weight
    model.blocks[1].requires_grad_(False)
    return model


def text(block):
    return dedent(block).strip("\n")


def test_the_tree_counts_equal_neighbours_instead_of_repeating_them():
    assert repr(model()) == text(
        """
        Sequential(
          (tokens): Embedding(10, 4)
          (blocks): ModuleList(
            (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
          )
          (head): Linear(in_features=4, out_features=10, bias=False)
        )
        """
    )


def test_the_tree_shows_a_modules_own_line_above_those_inside():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0)
    assert repr(layer).splitlines()[:4] == [
        "TransformerEncoderLayer(",
        "  norm_first=False",
        "  (self_attn): MultiheadAttention(",
        "    embed_dim=4, num_heads=2",
    ]


def test_the_table_adds_up_and_names_what_is_shared():
    assert model().summary() == text(
        """
        module      class       parameters  own
        Sequential  Sequential         100
          tokens    Embedding           40  weight 10×4
          blocks    ModuleList          60
            0       Linear              20  weight 4×4, bias 4
            1       Linear              20  weight 4×4, bias 4
            2       Linear              20  weight 4×4, bias 4
          head      Linear               0  weight = tokens.weight
        100 parameters, 20 of them frozen, 400 bytes
        """
    )


def test_the_table_stops_at_a_depth():
    lines = model().summary(depth=1).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["Sequential", "tokens", "blocks", "head"]
    assert lines[3].split()[2] == "60"


def test_a_module_without_parameters_has_a_table_too():
    assert nn.ReLU().summary().splitlines()[-1] == "0 parameters, 0 bytes"


def test_a_parameter_without_axes_is_called_a_scalar():
    module = nn.Module()
    module.temperature = nn.Parameter(1.0)
    assert module.summary().splitlines()[1].endswith("1  temperature scalar")
