"""Every op that reads or writes by position, in every form of index that NumPy takes."""

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape

WIDE = (-2, 2)
CUBE = (3, 4, 2)
ROWS = np.array([[0], [2]])
COLUMNS = np.array([1, -1, 1])
MASK = np.arange(24).reshape(CUBE) % 5 < 2

FORMS = {
    "a number": 1,
    "numbers": (0, -1, 1),
    "slices": (slice(None, None, -1), slice(1, 3)),
    "nothing": (),
    "an ellipsis": (..., 1),
    "new axes": (None, 0, ..., None),
    "a list": [2, 0, 2],
    "arrays": (ROWS, COLUMNS),
    "arrays apart": (ROWS[:, 0], slice(None), [0, 1]),
    "an array and a number": (slice(None), COLUMNS, 0),
    "a mask": MASK,
    "a mask of one axis": (slice(None), MASK[0, :, 0]),
    "a mask and an array": (MASK[:, 0, 0], COLUMNS[:1]),
    "an empty list": (slice(None), []),
    "true": True,
}


def exactly(*shapes):
    return st.just(shapes)


def reading(name, index):
    return Case(
        f"x[{name}]",
        lambda x: x[index],
        (WIDE,),
        lambda x: x[index],
        shapes=exactly(CUBE),
        integer=True,
    )


def putting(name, index):
    def put(x, values):
        x = x.copy()
        x[index] = values
        return x

    shape = np.zeros(CUBE)[index].shape
    return Case(
        f"index_put at {name}",
        lambda x, values: ta.index_put(x, index, values),
        (WIDE, WIDE),
        put,
        shapes=exactly(CUBE, shape),
        integer=True,
    )


def adding(name, index):
    def add(x, values):
        x = x.copy()
        np.add.at(x, index, values)
        return x

    shape = np.zeros(CUBE)[index].shape
    return Case(
        f"index_add at {name}",
        lambda x, values: ta.index_add(x, index, values),
        (WIDE, WIDE),
        add,
        shapes=exactly(CUBE, shape),
        integer=True,
    )


def written(x, values):
    """For arrays and tensors alike."""
    y = x.copy()
    y[ROWS[:, 0], 1:3] = values
    return y


def put_along_axis(x, values):
    x = x.copy()
    np.put_along_axis(x, PLACES, values, 1)
    return x


def scatter_add(x, values):
    x = x.copy()
    for line, places, added in zip(x, PLACES, values):
        np.add.at(line, places, added)
    return x


PLACES = np.array([[0, 2, 1], [3, 3, -1]])  # in lines of four; the second repeats itself
LINES, VALUES = (2, 4), (2, 3)


def ordered(name, **options):
    op, reference = getattr(ta, name), getattr(np, name)
    order = 2 if name == "sort" else 0
    return Case(
        f"{name} {options}",
        lambda x: op(x, **options),
        (WIDE,),
        lambda x: np.flip(reference(x, axis=0), 0) if options.get("descending") else reference(x),
        order=order,
        shapes=one_shape(min_dims=1),
        integer=name == "sort",
    )


CASES = [
    *[reading(name, index) for name, index in FORMS.items()],
    *[putting(name, index) for name, index in FORMS.items()],
    *[adding(name, index) for name, index in FORMS.items()],
    Case("x[index] = values", written, (WIDE, WIDE), written, shapes=exactly(CUBE, (2, 2, 2))),
    Case(
        "index_put of one number",
        lambda x, v: ta.index_put(x, COLUMNS, v),
        (WIDE, WIDE),
        shapes=exactly(CUBE, ()),
    ),
    Case(
        "index_add of one number",
        lambda x, v: ta.index_add(x, COLUMNS % 3, v),
        (WIDE, WIDE),
        shapes=exactly(CUBE, ()),
    ),
    Case(
        "take",
        lambda x: ta.take(x, ROWS, 1),
        (WIDE,),
        lambda x: np.take(x, ROWS, 1),
        shapes=exactly(CUBE),
    ),
    Case(
        "take of x flattened",
        lambda x: ta.take(x, ROWS),
        (WIDE,),
        lambda x: np.take(x, ROWS),
        shapes=exactly(CUBE),
    ),
    Case(
        "take_along_axis",
        lambda x: ta.take_along_axis(x, PLACES, 1),
        (WIDE,),
        lambda x: np.take_along_axis(x, PLACES, 1),
        shapes=exactly(LINES),
    ),
    Case(
        "put_along_axis",
        lambda x, v: ta.put_along_axis(x, PLACES, v, 1),
        (WIDE, WIDE),
        put_along_axis,
        shapes=exactly(LINES, VALUES),
    ),
    Case(
        "scatter_add",
        lambda x, v: ta.scatter_add(x, PLACES, v, 1),
        (WIDE, WIDE),
        scatter_add,
        shapes=exactly(LINES, VALUES),
    ),
    Case(
        "masked_fill",
        lambda x, v: ta.masked_fill(x, MASK.tolist(), v),
        (WIDE, WIDE),
        lambda x, v: np.where(MASK, v, x),
        shapes=exactly(CUBE, ()),
    ),
    Case(
        "masked_select",
        lambda x: ta.masked_select(x, MASK[:, :1].tolist()),
        (WIDE,),
        lambda x: x[np.broadcast_to(MASK[:, :1], CUBE)],
        shapes=exactly(CUBE),
    ),
    ordered("sort"),
    ordered("sort", axis=0, descending=True),
    ordered("argsort"),
    Case(
        "topk",
        lambda x: ta.topk(x, 2, axis=0)[0],
        (WIDE,),
        lambda x: np.flip(np.sort(x, axis=0), 0)[:2],
        shapes=one_shape(min_dims=1, min_size=2),
    ),
    Case(
        "nonzero",
        lambda x: ta.nonzero(x > 0),
        (WIDE,),
        lambda x: np.nonzero(x > 0),
        order=0,
        shapes=one_shape(min_dims=1),
    ),
    Case(
        "searchsorted",
        lambda x: ta.searchsorted(ta.arange(-1, 3, device=x.device), x),
        (WIDE,),
        lambda x: np.searchsorted(np.arange(-1, 3), x),
        order=0,
    ),
]
