"""einops on our tensors, without importing einops for those who do not use it.

einops looks for the backend of an unknown tensor among the subclasses of its ``AbstractBackend``.
Ours is in ``einops_backend``, which can only be imported when einops can. So it is imported with
einops: at once if einops is there already, and otherwise by an onlooker in ``sys.meta_path``, which
finds no modules itself and only notices that one of einops is being looked for.
"""

import sys
from importlib import import_module

__all__ = []

_BACKENDS = "einops._backends"


class _Onlooker:
    """An entry of ``sys.meta_path`` that leaves all finding to the others."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Always None: no module is found here."""
        if name.startswith("einops.") and _BACKENDS in sys.modules:
            _join_einops()


def _join_einops():
    """Let einops know our tensors."""
    import_module(".einops_backend", __package__)


if _BACKENDS in sys.modules:
    _join_einops()
else:
    sys.meta_path.insert(0, _Onlooker)
