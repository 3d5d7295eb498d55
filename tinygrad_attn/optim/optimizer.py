"""Optimizer: the parameters in groups, what is remembered of each, and the step in place.

A step works on raw arrays, outside any graph, and writes into the parameters in place; the tape is
told, so that a graph that still needs the old values says so instead of giving wrong gradients.
What an optimizer remembers, momentum and the like, is kept in float32 at least, whatever the
parameters are.
"""

from collections.abc import Iterable

from ..backend import array_from, backend_of, dtypes, in_one_place, is_array, on_device_of, quiet
from ..core import Tensor
from ..core.graph import mark_written
from ..core.scopes import scoped
from ..errors import CheckpointError, DeviceError, DTypeError, GraphError, ShapeError

__all__ = ["Optimizer", "check_numbers", "decay_groups"]


class Optimizer:
    """The base of all optimizers.

    A subclass says what its options are and how one parameter is changed.

    Args:
        params: the tensors to change, or groups of them, dicts {"params": tensors, "lr": 0.1, …}.
        defaults: the value of each option in groups that do not give their own.

    Raises: ShapeError for no parameters, one given twice, an option outside its domain; DTypeError
    for what is no tensor, or an option that does not exist; GraphError for a computed tensor.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict], defaults: dict):
        where = type(self).__name__
        self.defaults = defaults
        self.param_groups = []
        self.state = {}  # number of a parameter through all groups -> what is remembered of it
        self._buffers = {}  # (device, dtype) -> arrays to compute in
        self._seen = {}  # number of a parameter -> its array at the last step
        is_many = isinstance(params, Iterable) and not hasattr(params, "parameters")
        if isinstance(params, Tensor) or not is_many:
            instead = "[tensor]" if isinstance(params, Tensor) else "model.parameters()"
            raise DTypeError(f"{where}: params is a {type(params).__name__}; give {instead}")
        params = list(params)
        if not params:
            raise ShapeError(f"{where}: params is empty; give at least one parameter")
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict):
        """Take in another group: a dict with "params", and the options that are its own."""
        where = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise DTypeError(f'{where}: a group is {group!r:.60}; give a dict with "params" in it')
        options = {name: value for name, value in group.items() if name != "params"}
        for name in options:
            if name not in self.defaults:
                raise DTypeError(
                    f"{where}: there is no option {name!r}; there are {', '.join(self.defaults)}"
                )
        options = {**self.defaults, **options}
        self._check_options(where, **options)
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        self._check_params(where, params)
        self.param_groups.append({"params": params, **options})

    def _check_params(self, where, params):
        """Hold new parameters to be leaves that are in no group yet."""
        known = {id(p) for _, _, p in self._numbered()}
        for p in params:
            if not isinstance(p, Tensor):
                raise DTypeError(f"{where}: parameters must be tensors, not {type(p).__name__}")
            if not p.is_leaf:
                raise GraphError(
                    f"{where}: a parameter of shape {p.shape} was computed by {p.node.op.name}; "
                    "only leaves can be optimized"
                )
            if id(p) in known:
                raise ShapeError(f"{where}: a parameter of shape {p.shape} is given twice")
            known.add(id(p))

    def _check_options(self, where, **options):
        """Raise ShapeError for an option outside its domain, DTypeError for no number."""
        raise NotImplementedError

    def _numbered(self):
        """(number, group, parameter) for every parameter, counted through all groups."""
        i = 0
        for group in self.param_groups:
            for p in group["params"]:
                yield i, group, p
                i += 1

    # ---- the learning rate -----------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The learning rate of all groups, to read and to set: ``optimizer.lr = schedule(step)``.

        Raises: ShapeError where groups have different rates: ``group["lr"]`` is that of a group in
        ``param_groups``.
        """
        rates = sorted({group["lr"] for group in self.param_groups})
        if len(rates) > 1:
            raise ShapeError(
                f"{type(self).__name__}: the groups have different learning rates, "
                f'{", ".join(map(str, rates))}; set group["lr"] of each in param_groups'
            )
        return rates[0]

    @lr.setter
    def lr(self, rate):
        check_numbers(type(self).__name__, lr=rate)
        if self.lr != rate:
            for group in self.param_groups:
                group["lr"] = float(rate)

    # ---- the step --------------------------------------------------------------------------------

    @scoped
    @quiet
    def step(self):
        """Change every parameter that has a gradient; one without stays exactly as it is."""
        ready = []
        for i, group, p in self._numbered():
            if p.grad is not None:
                if self._seen.get(i) is not p.data:  # it may have moved
                    self._check_home(p, self.state.get(i, {}))
                    self._seen[i] = p.data
                ready.append((i, group, p.data, _wide(p.grad.data)))
        self._update_all(ready)
        for _, _, array, _ in ready:
            mark_written(array)

    def _update_all(self, ready):
        """Change the parameters, given (number, group, its array, its gradient) of each."""
        for i, group, p, g in ready:
            state = self.state.get(i, {})
            with on_device_of(p):
                self._update(p, g, state, group)
            if state:
                self.state[i] = state

    def _update(self, p, g, state, group):
        """Change the raw array ``p`` in place, given its gradient and what is remembered of it."""
        raise NotImplementedError

    def zero_grad(self):
        """Forget all gradients: each ``.grad`` becomes None."""
        for _, _, p in self._numbered():
            p.grad = None

    def _work(self, g):
        """Two arrays like ``g`` to compute in, lent for the step of one parameter.

        They are cut from buffers for the largest parameter, so that a step allocates nothing.
        """
        backend = backend_of(g)
        device = backend.device_of(g)
        buffers = self._buffers.get((device, g.dtype))
        if buffers is None or buffers.shape[1] < g.size:
            largest = max(p.size for _, _, p in self._numbered())
            with backend.on(device):
                buffers = backend.xp.empty((2, largest), dtype=g.dtype)
            self._buffers[device, g.dtype] = buffers
        return [buffer[: g.size].reshape(g.shape) for buffer in buffers]

    def _check_home(self, p, state):
        """Raise DeviceError where the parameter has left what is remembered of it behind."""
        for remembered in state.values():
            if is_array(remembered) and not in_one_place([remembered, p.data]):
                raise DeviceError(
                    f'{type(self).__name__}: a parameter of shape {p.shape} is on "{p.device}" but '
                    "its state is not; move the model before the first step, or afterwards call "
                    "optimizer.load_state_dict(optimizer.state_dict())"
                )

    # ---- saving ----------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """A snapshot to go on from: {"state": {number: {...}}, "param_groups": [{...}]}, in copies.

        As in PyTorch parameters are numbered through all groups, and a group lists its numbers.
        """
        state = {
            i: {k: Tensor(v.copy()) if is_array(v) else v for k, v in remembered.items()}
            for i, remembered in self.state.items()
        }
        groups, start = [], 0
        for group in self.param_groups:
            end = start + len(group["params"])
            groups.append({**group, "params": list(range(start, end))})
            start = end
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict):
        """Go on from a snapshot of an optimizer of this kind, over parameters of the same shapes.

        Tensors and arrays are copied to the device of their parameter.
        Raises: CheckpointError where it does not fit; then nothing was changed.
        """
        where = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, dict) or {"state", "param_groups"} - state_dict.keys():
            raise CheckpointError(
                f'{where}: this is no state of an optimizer; it needs "state" and "param_groups"'
            )
        groups = state_dict["param_groups"]
        ours = [len(group["params"]) for group in self.param_groups]
        theirs = [len(group["params"]) for group in groups]
        if ours != theirs:
            raise CheckpointError(
                f"{where}: it has groups of {theirs} parameters, this optimizer of {ours}; they "
                "must be the same"
            )
        options = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        for given in options:
            if given.keys() != self.defaults.keys():
                raise CheckpointError(
                    f"{where}: its options are {', '.join(given)}; those of this optimizer are "
                    f"{', '.join(self.defaults)}"
                )
            self._check_options(where, **given)
        parameters = {i: p for i, _, p in self._numbered()}
        state = {}
        for i, remembered in state_dict["state"].items():
            if int(i) not in parameters:
                raise CheckpointError(
                    f"{where}: there is no parameter {i}; there are {len(parameters)}"
                )
            state[int(i)] = {
                k: _restored(where, k, v, parameters[int(i)]) for k, v in remembered.items()
            }
        self.state, self._seen = state, {}
        for group, given in zip(self.param_groups, options):
            group.update(given)


def _wide(gradient):
    """A gradient in float32 at least."""
    if not dtypes.is_half(gradient.dtype):
        return gradient
    with on_device_of(gradient):
        return gradient.astype(dtypes.float32)


def _restored(where, name, value, p):
    """One remembered value: a count, or an array like the parameter's."""
    if name == "step":
        return int(value)
    array = (
        value.to(p.device).data.copy()
        if isinstance(value, Tensor)
        else array_from(value, p.device, where)
    )
    if tuple(array.shape) != tuple(p.shape):
        raise CheckpointError(
            f"{where}: {name} is {tuple(array.shape)}, its parameter is {tuple(p.shape)}"
        )
    return array.astype(dtypes.float32) if array.dtype.itemsize == 2 else array


def check_numbers(where, **values):
    """Raise DTypeError unless each value is a number, ShapeError where it is negative or NaN."""
    for name, value in values.items():
        if not dtypes.is_scalar(value) or isinstance(value, bool):
            raise DTypeError(f"{where}: {name} is {value!r:.60}; it must be a number")
        if not value >= 0:
            raise ShapeError(f"{where}: {name} is {value}; it must not be negative")


def decay_groups(model, weight_decay: float) -> list[dict]:
    """A model's parameters in two groups: matrices, which decay; biases and norms, which do not.

    Decay pulls a weight towards 0, which is right for the factors of a product, of which there are
    many, but not for an offset or a scale. So what has two axes or more decays. Frozen parameters
    are left out.

    Example:
        >>> from tinygrad_attn import nn, optim
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        >>> groups = optim.decay_groups(model, weight_decay=0.1)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.1), (3, 0.0)]
        >>> optimizer = optim.AdamW(groups, lr=1e-3)
    """
    check_numbers("decay_groups", weight_decay=weight_decay)
    if not hasattr(model, "parameters"):
        raise DTypeError(f"decay_groups: model is a {type(model).__name__}; give a Module")
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
