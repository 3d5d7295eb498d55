"""Write down in ``cupy_api.json`` what CuPy offers. Run it where CuPy is installed, GPU or not:

    python tests/standin/make_cupy_api.py

Only names that NumPy has too are listed: an op is written once, for both libraries. Parameters are
written as in a signature, with a bare ``=`` after those that may be left out.
"""

import inspect
import json
from pathlib import Path

import cupy
import numpy as np

PATH = Path(__file__).with_name("cupy_api.json")


def functions():
    """{name: parameters} of the functions, such as {"tril": ["m", "k="]}."""
    found = {"asnumpy": _parameters(cupy.asnumpy)}
    for name in _shared_names():
        thing = getattr(cupy, name)
        if callable(thing) and not isinstance(thing, type | cupy.ufunc) and not _is_numpys(name):
            found[name] = _parameters(thing)
    return dict(sorted(found.items()))


def ufuncs():
    """{name: its loops}, such as {"sqrt": "e->e f->f d->d"}; without those of bfloat16, E."""
    return {
        name: " ".join(loop for loop in getattr(cupy, name).types if not set(loop) & set("EFD"))
        for name in _shared_names()
        if isinstance(getattr(cupy, name), cupy.ufunc)
    }


def methods():
    """{name: parameters} of the methods of an array."""
    names = [name for name in dir(cupy.ndarray) if not name.startswith("_")]
    return {
        name: _parameters(getattr(cupy.ndarray, name))[1:]
        for name in names
        if callable(getattr(np.ndarray, name, None)) or name == "get"
    }


def constants():
    """The names that are the very same thing in both: dtypes, newaxis, pi, finfo."""
    return [name for name in _shared_names() if _is_numpys(name)]


def _shared_names():
    return [name for name in dir(cupy) if not name.startswith("_") and hasattr(np, name)]


def _is_numpys(name):
    theirs = getattr(cupy, name)
    return theirs is getattr(np, name) or isinstance(theirs, float)


def _parameters(function):
    """The parameters of a function; of a compiled one, from the first line of its docstring."""
    try:
        listed = inspect.signature(function).parameters.values()
    except ValueError:
        text = function.__doc__.partition("\n")[0]
        listed = text[text.index("(") + 1 : text.rindex(")")]
        return [_from_text(piece) for piece in listed.split(", ") if piece not in ("", "*")]
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [marks.get(p.kind, "") + p.name + "=" * (p.default is not p.empty) for p in listed]


def _from_text(parameter):
    """The "axis=" of ``int axis=-1``, a piece of a compiled signature."""
    name, _, default = parameter.partition("=")
    return name.split()[-1] + "=" * bool(default)


def api():
    return {
        "version": cupy.__version__,
        "functions": functions(),
        "ufuncs": ufuncs(),
        "methods": methods(),
        "constants": constants(),
    }


def main():
    sections = []
    for title, content in api().items():
        if isinstance(content, dict):
            rows = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in content.items())
            sections.append(f'  "{title}": {{\n{rows}\n  }}')
        else:
            sections.append(f'  "{title}": {json.dumps(content)}')
    PATH.write_text("{\n" + ",\n".join(sections) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
