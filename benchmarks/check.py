"""No time counts before the gradients are right: each contestant's beside those of a reference."""

__all__ = ["Refused", "check"]

RELATIVE = 1e-4  # of the largest entry of the parameter's gradient
ABSOLUTE = 1e-7  # of the largest entry of all: a key's bias has gradient 0, and each its own noise


class Refused(Exception):
    """A contestant computes something else; its time would say nothing."""


def check(name, found, expected):
    """Hold loss, gradients and the losses of the first steps of ``name`` to those ``expected``.

    Both map "loss", "losses" and the name of each parameter to an array. The tolerance is that of
    float32: sums over thousands of products, in another order.
    Raises: Refused, which names the parameter and by how much it differs.
    """
    if found.keys() != expected.keys():
        missing = sorted(found.keys() ^ expected.keys())
        raise Refused(f"{name}: refused: only one of the two has a gradient of {missing[0]}")
    largest = max(abs(g).max() for key, g in expected.items() if key not in ("loss", "losses"))
    for key, right in expected.items():
        ours = found[key]
        if ours.shape != right.shape:
            raise Refused(f"{name}: refused: {key} is {ours.shape}; it must be {right.shape}")
        allowed = RELATIVE * abs(right).max() + ABSOLUTE * largest
        difference = abs(ours - right).max()
        if not difference <= allowed:  # NaN is refused too
            what = key if key in ("loss", "losses") else f"the gradient of {key}"
            raise Refused(
                f"{name}: refused: {what} differs by {difference:.3g}, {allowed:.3g} is allowed; "
                f"its largest entry should be {abs(right).max():.3g}"
            )
