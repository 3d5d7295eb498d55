"""Every product of vectors, matrices and stacks, and einsum in all that its subscripts can say."""

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.cases import Case, broadcast_shapes

WIDE = (-2, 2)
BOTH = (WIDE, WIDE)
SIZES = st.sampled_from([1, 2, 3, 0])


@st.composite
def matmul_shapes(draw):
    """A vector, a matrix or a stack on either side; stacks that broadcast."""
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    left, right = draw(broadcast_shapes(2, max_dims=2))
    left = draw(st.sampled_from([(k,), (m, k), (*left, m, k)]))
    right = draw(st.sampled_from([(k,), (k, n), (*right, k, n)]))
    return left, right


@st.composite
def labelled_shapes(draw, *terms):
    """One size for each letter of the terms; capitals are the axes of an ellipsis."""
    sizes = {letter: draw(SIZES) for letter in sorted(set("".join(terms)))}
    return tuple(tuple(sizes[letter] for letter in term) for term in terms)


@st.composite
def dot_shapes(draw):
    """Vectors, matrices and stacks whose last, and last but one, axis is equal; numbers."""
    k, other = draw(SIZES), draw(st.lists(SIZES, max_size=2))
    left = (*other, k)
    right = draw(st.sampled_from([(k,), (k, 2), (2, k, 3)]))
    return draw(st.sampled_from([(left, right), (left, ()), ((), right)]))


def einsum(subscripts, *terms):
    """A case of einsum; ``terms`` label the axes of the operands, those of an ellipsis included."""
    return Case(
        f"einsum {subscripts}",
        lambda *xs: ta.einsum(subscripts, *xs),
        (WIDE,) * len(terms),
        lambda *xs: np.einsum(subscripts, *xs),
        shapes=labelled_shapes(*terms),
        integer=True,
    )


def product(name, *terms, shapes=None, label="", **options):
    """A case of the product called ``name``, on operands whose axes are labelled."""
    return Case(
        f"{name} {label}".strip(),
        lambda a, b: getattr(ta, name)(a, b, **options),
        BOTH,
        lambda a, b: getattr(np, name)(a, b, **options),
        shapes=labelled_shapes(*terms) if shapes is None else shapes,
        integer=True,
    )


def distances(p):
    """A case of cdist, on rows that are nowhere equal."""

    def reference(a, b):
        return (np.abs(a[..., :, None, :] - b[..., None, :, :]) ** p).sum(-1) ** (1 / p)

    return Case(
        f"cdist p={p}",
        lambda a, b: ta.cdist(a, b, p),
        ((-2, -0.5), (0.5, 2)),
        reference,
        shapes=labelled_shapes("smd", "snd").filter(lambda shapes: math.prod(shapes[0]) > 0),
    )


CASES = [
    product("matmul", shapes=matmul_shapes()),
    Case("matmul as @", lambda a, b: a @ b, BOTH, np.matmul, shapes=matmul_shapes()),
    product("dot", shapes=dot_shapes()),
    product("vdot", "mn", "mn"),
    product("inner", "amk", "nk"),
    product("outer", "mn", "k"),
    product("kron", "mn", "pq"),
    product("kron", "m", "pqr", label="of different ranks"),
    product("tensordot", "mjk", "jkn"),
    product("tensordot", "mk", "kn", label="over one axis", axes=1),
    product("tensordot", "jmk", "kjn", label="over chosen axes", axes=((0, -1), (1, 0))),
    product("tensordot", "m", "n", label="over none", axes=0),
    distances(1),
    distances(2),
    distances(3),
    einsum("ij,jk->ik", "ij", "jk"),
    einsum("bqhd,bkhd->bhqk", "bqhd", "bkhd"),
    einsum("bij,jk->kbi", "bij", "jk"),
    einsum("...ij,...jk->...ik", "ABij", "Bjk"),
    einsum("...i,...i", "ABi", "i"),
    einsum("ii", "ii"),
    einsum("...ii->...i", "Aii"),
    einsum("iij->ji", "iij"),
    einsum("ijij->ij", "ijij"),
    einsum("ijk->ki", "ijk"),
    einsum("ij->", "ij"),
    einsum("i,j->ij", "i", "j"),
    einsum("ij,ij->i", "ij", "ij"),
    einsum("ii,ij->j", "ii", "ij"),
    einsum("bi,oij,bj->bo", "bi", "oij", "bj"),
    einsum("ij,jk,kl->il", "ij", "jk", "kl"),
    einsum("ab,bc,ca", "ab", "bc", "ca"),
]
