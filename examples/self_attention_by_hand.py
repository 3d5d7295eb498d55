"""Self-attention by hand, in three steps: score, softmax, weighted sum. Every number is shown.

    python examples/self_attention_by_hand.py
    python examples/self_attention_by_hand.py --plot steps.png

Attention lets each word read the others, and most of all those that matter to it. Here the words
are so small that a pencil can follow: four numbers each, and each number means something. In a
Transformer they are learned, and learned matrices first turn a word into three vectors: what it
asks (its query), what it answers to (its key) and what it tells (its value). Here it is all three
itself. Beside every result by hand stands the library's.
"""

import math
from typing import NamedTuple

import numpy as np
from _common import Flags, run

import tinygrad_attn as ta
from tinygrad_attn.viz import save_picture
from tinygrad_attn.viz.picture import INK, PALE, STYLE, new_figure

# What a word is about: animals, liquids, doing something, what something is like.
FEATURES = ["animal", "liquid", "action", "quality"]

ENGLISH = {
    "black": [2.0, 0.0, 0.0, 2.0],  # a quality, here of animals
    "cats": [3.0, 0.0, 0.0, 0.0],
    "drink": [1.0, 1.0, 2.0, 0.0],  # an action, which takes an animal and a liquid
    "cold": [0.0, 2.0, 0.0, 2.0],  # a quality, here of liquids
    "milk": [0.0, 3.0, 0.0, 0.0],
}

# What means the same has the same numbers. French says these qualities after what has them, and
# two little words that English does without.
FRENCH = {
    "les": [0.0, 0.0, 0.0, 0.0],
    "chats": ENGLISH["cats"],
    "noirs": ENGLISH["black"],
    "boivent": ENGLISH["drink"],
    "du": [0.0, 0.0, 0.0, 0.0],
    "lait": ENGLISH["milk"],
    "froid": ENGLISH["cold"],
}


def main(command_line):
    """Three scenes in print, and on request as a picture: what is given, then the three steps."""
    about = "Self-attention by hand. Nothing is learned: the flags of training change nothing."
    flags = Flags(about, steps=0, batch_size=1, lr=1.0, quick={}, learns=False)
    args = flags.read(command_line)
    english, french = list(ENGLISH), list(FRENCH)
    x = ta.tensor(list(ENGLISH.values()), device=args.device)
    z = ta.tensor(list(FRENCH.values()), device=args.device)
    allowed = ta.tril(ta.ones_like(x @ x.T))  # row t: 1 up to t, then 0
    scenes = {}

    headline = say("Self-attention: the words of one sentence read one another")
    words = show(Table("The words, x", english, FEATURES, x, "Oranges", 4))
    scenes[headline] = [words, *walk(english, english, x, x, x)]
    print("Each word reads most of itself, and then of its partner: black cats, cold milk.")
    print("And drink looks for who drinks and for what is drunk, for both alike.")

    headline = say("Causal: no word looks ahead, as where the next one is to be guessed")
    limits = Table("Who may read whom", english, english, allowed, "Greys", 3)
    scenes[headline] = [limits, *walk(english, english, x, x, x, allowed > 0, causal=True)]
    print("The first word can read nothing but itself; the last one reads all, as before.")

    headline = say("Cross-attention: English asks, French answers")
    words = show(Table("The French words, z", french, FEATURES, z, "Oranges", 4))
    _, weights, _ = steps = walk(english, french, x, z, z)
    scenes[headline] = [words, *steps]
    found = [french[s] for s in weights.values.argmax(axis=-1).tolist()]
    print("Most read:", ", ".join(f"{word}→{mot}" for word, mot in zip(english, found)) + ".")
    print("Down the rows that path turns back twice, where French puts the noun first.")

    if args.plot:
        save_picture(picture(scenes), args.plot)
        print(f"\nAll of it as a picture: {args.plot}")


def attention_by_hand(q, k, v, allowed=None):
    """The three steps: scores (T, S), weights (T, S), and the result (T, E)."""
    # 1. Score: how well does each query match each key? A dot product is large where both are
    #    large in the same places. It also grows with the width E, and √E takes that out again.
    scores = q @ k.T / math.sqrt(q.shape[-1])
    if allowed is not None:
        scores = ta.where(allowed, scores, -math.inf)  # e^−∞ = 0: not even a little

    # 2. Softmax: scores become shares, none negative, each row with the sum 1. Taking the largest
    #    score from all of its row cancels in the division; it only keeps e^score from overflowing.
    powers = ta.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = powers / powers.sum(axis=-1, keepdims=True)

    # 3. Weighted sum: each query takes of every value its share.
    return scores, weights, weights @ v


def walk(queries, keys, q, k, v, allowed=None, **options):
    """Show the steps, and beside the last what the library finds, which wants (heads, T, E)."""
    scores, weights, y = attention_by_hand(q, k, v, allowed)
    library = ta.scaled_dot_product_attention(q[None], k[None], v[None], **options)[0]
    total = weights.sum(axis=-1, keepdims=True)
    steps = [
        show(Table("1. Score: q·kᵀ/√4", queries, keys, scores, "Purples", 7)),
        show(Table("2. Softmax of each row", queries, keys, weights, "Blues", 1), ["sum"], total),
        show(Table("3. Weighted sum", queries, FEATURES, y, "Oranges", 4), FEATURES, library),
    ]
    difference = ta.abs(y - library).max().item()
    print(f"\nOn the right the library's. The largest difference: {difference:.1g}\n")
    return steps


# ---- how it is shown -----------------------------------------------------------------------------


class Table(NamedTuple):
    """Numbers with a word at each row and column, to be printed, and drawn as a heat map."""

    title: str
    rows: list[str]
    columns: list[str]
    values: ta.Tensor
    colours: str
    darkest: float  # the number that is drawn darkest; 0 is white


def say(headline):
    """Begin a scene."""
    print(f"\n\n{headline}\n{'─' * len(headline)}")
    return headline


def show(table, columns=(), values=None):
    """Print a table with its shape, and beyond a bar more columns; return it."""
    print(f"\n{table.title}  {table.values.shape}\n")
    print_line("", table.columns, columns)
    for i, row in enumerate(table.rows):
        more = () if values is None else map(written, values[i].tolist())
        print_line(row, map(written, table.values[i].tolist()), more)
    return table


def print_line(row, left, right):
    """A line of a table: its word, its cells, and those beyond the bar."""
    left, right = ("".join(f"{cell:>8}" for cell in cells) for cells in (left, right))
    print(f"{row:8}{left}" + (f"  │{right}" if right else ""))


def written(number):
    """A number as text."""
    return "−∞" if number == -math.inf else f"{number:.3f}"


def picture(scenes):
    """A row of heat maps for each scene, with cells of one size all over."""
    from matplotlib import rc_context

    cell, size = 0.44, np.array([13.8, 12.3])  # inches
    y = size[1]
    with rc_context(STYLE):
        figure = new_figure(*size)
        figure.set_layout_engine("none")
        for headline, tables in scenes.items():
            figure.text(*[0.3, y - 0.55] / size, headline, size=14)
            y -= 1.4
            for x, table in zip([0.85, 3.9, 7.83, 11.76], tables):
                area = cell * np.array([len(table.columns), len(table.rows)])
                corner = np.array([x, y - area[1]])
                heat_map(figure.add_axes([*corner / size, *area / size]), table)
            y -= cell * len(tables[0].rows) + 0.2
    return figure


def heat_map(axes, table):
    """A table as colours, with the number in each cell and the words at its edges."""
    values = table.values.numpy()
    look = {"cmap": table.colours, "edgecolors": "white", "linewidth": 1.5}
    axes.pcolormesh(values.clip(0), vmin=0, vmax=table.darkest, **look)
    axes.invert_yaxis()  # the first row on top, as in print
    axes.set_title(f"{table.title}  {values.shape}", loc="left", pad=8)
    axes.set_xticks(np.arange(len(table.columns)) + 0.5, table.columns)
    axes.set_yticks(np.arange(len(table.rows)) + 0.5, table.rows)
    axes.tick_params(length=0, labelsize=8, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    for (i, j), number in np.ndenumerate(values):
        colour = "white" if number > 0.55 * table.darkest else INK if number > 0 else PALE
        text = written(number).removesuffix(".000")
        axes.text(j + 0.5, i + 0.5, text, size=7.5, color=colour, ha="center", va="center")


if __name__ == "__main__":
    run(main)
