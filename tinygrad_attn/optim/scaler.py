"""GradScaler: a large factor on the loss, so that small gradients survive in float16.

float16 ends at 6·10⁻⁸ below and 65,504 above, and many gradients of a deep network are smaller than
the one. The chain rule is linear: a loss times 2¹⁶ has gradients times 2¹⁶. They are divided again
once they are in float32, before anybody looks at them. How large the factor may be is found by
trying: where a gradient has become infinite the step is skipped and the factor halved; after a long
run of steps that went well it is doubled.

    scaler = optim.GradScaler()
    for step in range(2000):
        with ta.autocast():
            loss = ...
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)                       # only to clip, or to look at gradients
        optim.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

bfloat16 has the range of float32 and needs none of this.

Reference: Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740.
"""

from collections import defaultdict

from ..backend import backend_of, dtypes, quiet
from ..core import Tensor
from ..errors import CheckpointError, DTypeError, GraphError, NonFiniteError, ShapeError
from ..trees import map_tensors, tensors_in
from .optimizer import Optimizer, check_numbers

__all__ = ["GradScaler"]

_SMALLEST, _LARGEST = 2.0**-126, 2.0**126  # beyond, float32 cannot hold the factor or its inverse


class GradScaler:
    """Dynamic loss scaling: a factor on the loss that is as large as gradients in float16 allow.

    ``scale(loss).backward()``, then ``step(optimizer)`` in place of ``optimizer.step()`` for each
    optimizer, and ``update()`` once at the end. Gradients that are accumulated over several
    backward passes share one factor, as it changes in ``update()`` alone.

    Whether to skip is decided by the host: ``step`` waits for the device, once, to read one number.

    Args:
        init_scale: the factor to begin with.
        growth_factor: by which it grows after ``growth_interval`` steps without an overflow.
        backoff_factor: by which it shrinks after an overflow.
        growth_interval: how many steps have to go well before it grows.
        enabled: False makes it do nothing but call ``optimizer.step()``.

    Raises: ShapeError for factors that would not make it grow and shrink; DTypeError for no number.

    Example: an overflow skips the step and halves the factor.

        >>> import tinygrad_attn as ta
        >>> x = ta.tensor([3.0], requires_grad=True)
        >>> optimizer, scaler = ta.optim.SGD([x], lr=0.1), ta.optim.GradScaler(init_scale=8.0)
        >>> scaler.scale((x * float("inf")).sum()).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> x, scaler.get_scale()
        (tensor([3.], requires_grad=True), 4.0)
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        options = {"growth_factor": growth_factor, "backoff_factor": backoff_factor}
        options["growth_interval"] = growth_interval
        _check("GradScaler", init_scale=init_scale, **options)
        self._enabled, self._scale, self._options = bool(enabled), float(init_scale), options
        self._good_steps = 0  # how many went well since the factor last changed
        self._records = {}  # id of an optimizer -> what became of it since the last update

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor, 1.0 where the scaler is not enabled."""
        return self._scale if self._enabled else 1.0

    @quiet
    def scale(self, outputs):
        """``outputs``, a tensor or several in lists, tuples and dicts, times the factor.

        16-bit floats become float32 first: the factor alone may be beyond what they can hold.
        Raises: DTypeError where there is no tensor.
        """
        if not tensors_in(outputs):
            raise DTypeError(
                f"GradScaler.scale: outputs is a {type(outputs).__name__}; give the loss, a tensor"
            )
        return map_tensors(lambda y: _wide(y) * self._scale, outputs) if self._enabled else outputs

    def unscale_(self, optimizer: Optimizer):
        """Divide the gradients of an optimizer's parameters by the factor, so that they are true.

        To be called before gradients are clipped or looked at; ``step`` does it where it was not.
        Raises: GraphError where it was called before, since the last ``update()``, or there is no
        gradient; DTypeError for parameters of 16 bits.
        """
        if not self._enabled:
            return
        record = self._records.get(id(optimizer))
        if record is not None:
            done = "step() was" if record.is_stepped else "unscale_() was already"
            raise GraphError(
                f"GradScaler.unscale_: {done} called for this {type(optimizer).__name__} since the "
                "last update(); call it once for each step, and before that"
            )
        self._records[id(optimizer)] = _Record(optimizer, self._unscaled(optimizer))

    def step(self, optimizer: Optimizer):
        """``optimizer.step()``, unless a gradient is infinite or NaN: then nothing changes.

        Raises: as ``unscale_``; GraphError for a second step before ``update()``.
        """
        if not self._enabled:
            return optimizer.step()
        if id(optimizer) not in self._records:
            self.unscale_(optimizer)
        record = self._records[id(optimizer)]
        if record.is_stepped:
            raise GraphError(
                f"GradScaler.step: called twice for this {type(optimizer).__name__} since the last "
                "update(); call update() after each step"
            )
        record.is_stepped = True
        return optimizer.step() if record.is_finite else None

    def update(self):
        """Let the factor grow or shrink, by what the steps since the last call have shown.

        Raises: GraphError where there were none; NonFiniteError where it has shrunk to the end of
        float32: what makes such gradients is no overflow.
        """
        if not self._enabled:
            return
        if not self._records:
            raise GraphError(
                "GradScaler.update: there was no step since the last update(); call "
                "step(optimizer) first"
            )
        went_well = all(record.is_finite for record in self._records.values())
        self._records.clear()
        self._good_steps = self._good_steps + 1 if went_well else 0
        factor = 1.0 if went_well else self._options["backoff_factor"]
        if self._good_steps == self._options["growth_interval"]:
            self._good_steps, factor = 0, self._options["growth_factor"]
        if self._scale * factor < _SMALLEST:
            raise NonFiniteError(
                f"GradScaler.update: gradients are not finite even at a scale of {self._scale:.2g};"
                " this is no overflow: ta.detect_anomaly() finds the op that makes them"
            )
        self._scale = min(self._scale * factor, _LARGEST)

    @quiet
    def _unscaled(self, optimizer):
        """Divide the gradients; returns, for each device and dtype, whether all are finite.

        They are gathered into one array first, of which they then are parts: a few kernels in all,
        where a few for each parameter would keep a GPU waiting for the host.
        """
        by_home = defaultdict(list)
        for p in [p for group in optimizer.param_groups for p in group["params"]]:
            if p.grad is not None:
                if dtypes.is_half(p.dtype):
                    raise DTypeError(
                        f"GradScaler.unscale_: a parameter of shape {p.shape} is {p.dtype}, and so "
                        "is its gradient; keep parameters in float32, and compute under ta.autocast"
                    )
                by_home[p.device, p.dtype].append(p)
        if not by_home:
            raise GraphError(
                f"GradScaler.unscale_: no parameter of this {type(optimizer).__name__} has a "
                "gradient; call scaler.scale(loss).backward() first"
            )
        flags = []
        for (device, _), parameters in by_home.items():
            backend = backend_of(parameters[0].data)
            with backend.on(device):
                xp = backend.xp
                flat = xp.concatenate([p.grad.data.reshape(-1) for p in parameters])
                flat *= 1 / self._scale
                flags.append(xp.isfinite(flat).all())
            start = 0
            for p in parameters:
                p.grad = Tensor(flat[start : start + p.size].reshape(p.shape))
                start += p.size
        return flags

    # ---- saving ----------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """A snapshot to go on from, under PyTorch's names; empty where it is not enabled."""
        if not self._enabled:
            return {}
        return {"scale": self._scale, **self._options, "_growth_tracker": self._good_steps}

    def load_state_dict(self, state_dict: dict):
        """Go on from a snapshot. Raises: CheckpointError where it is none."""
        if not self._enabled:
            return
        here, names = "GradScaler.load_state_dict", self.state_dict().keys()
        if not isinstance(state_dict, dict) or state_dict.keys() != names:
            given = ", ".join(state_dict) if isinstance(state_dict, dict) else repr(state_dict)
            raise CheckpointError(
                f"{here}: it holds {given or 'nothing'}; it must hold {', '.join(names)}"
            )
        state = dict(state_dict)
        good_steps = state.pop("_growth_tracker")
        _check(here, **state)
        self._scale, self._good_steps = float(state.pop("scale")), int(good_steps)
        self._options = state


class _Record:
    """What became of one optimizer since the last update."""

    def __init__(self, optimizer, flags):
        self.optimizer = optimizer  # held, so that no other gets its id
        self.flags = flags  # on the devices: whether all gradients there are finite
        self.is_stepped = False

    @property
    def is_finite(self):
        """Whether all gradients are finite. To know it the host has to wait, the first time."""
        if not isinstance(self.flags, bool):
            self.flags = all(bool(backend_of(flag).to_host(flag)) for flag in self.flags)
        return self.flags


def _wide(y):
    return y.astype(dtypes.float32) if dtypes.is_half(y.dtype) else y


def _check(where, growth_factor, backoff_factor, growth_interval, **scale):
    """Hold the numbers to their domains; the one in ``scale`` goes by the name it comes with."""
    options = {"growth_factor": growth_factor, "backoff_factor": backoff_factor}
    check_numbers(where, **scale, **options, growth_interval=growth_interval)
    ((name, value),) = scale.items()
    rules = {
        f"{name} is {value}; it must be in 2⁻¹²⁶..2¹²⁶": _SMALLEST <= value <= _LARGEST,
        f"growth_factor is {growth_factor}; it must be greater than 1": growth_factor > 1,
        f"backoff_factor is {backoff_factor}; it must be in 0..1, both excluded": (
            0 < backoff_factor < 1
        ),
        f"growth_interval is {growth_interval}; it must be a whole number of at least 1": (
            growth_interval >= 1 and growth_interval % 1 == 0
        ),
    }
    for rule, holds in rules.items():
        if not holds:
            raise ShapeError(f"{where}: {rule}")
