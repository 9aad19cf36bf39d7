"""What our claims need of the process they run in: switches that its owner may have set, each put right or refused.

| claim | what may break it | what is done |
|---|---|---|
| tensors have the dtype and device that the engine thinks | `torch.autocast`, `set_default_dtype`, `set_default_device` | ours inside |
| what is kept between calls can be used by autograd | `torch.inference_mode` | off inside |
| subnormal numbers are numbers | `set_flush_denormal`, libraries built with -ffast-math | off inside; refused in threads that run already |
| every operation rounds to nearest | `fesetround` | refused |
| float32 operations have float32's error | TF32, bfloat16 products, cuDNN and NNPACK (Winograd) | the last two off inside, else refused |

A proof in float64 depends on the first four only: no library computes float64 in less. What the author of a module set applies while
the module itself is run (`user_settings`). Imports torch only where it is loaded already, or has to be.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock, local
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# --- settings of torch that decide about dtypes and devices --------------------------------------------------------------------


class Shared:
    """A switch of the whole process: the first who needs it saves what it was, the last one puts it back."""

    def __init__(self, wanted: Any, read: Callable[[], Any], write: Callable[[Any], Any]) -> None:
        self._wanted, self._read, self._write = wanted, read, write
        self._lock, self._users, self._before = Lock(), 0, wanted

    def right(self) -> bool:
        """Whether it is as we need it, and nobody will put it back meanwhile."""
        return self._users == 0 and self._read() == self._wanted

    def before(self) -> Any:
        """What its owner set."""
        return self._before if self._users else self._read()

    @contextmanager
    def held(self) -> Iterator[None]:
        """As we need it inside."""
        with self._lock:
            if self._users == 0:
                self._before = self._read()
                self._write(self._wanted)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._write(self._before)


@dataclass(frozen=True)
class Setting:
    """A switch that is put right: whether it is, and a context in which it is."""

    right: Callable[[], bool]
    held: Callable[[], AbstractContextManager[Any]]


_AUTOCAST = ("cpu", "cuda", "xpu", "mps")
_OWNERS = local()
"""What the owner of this thread had set, where we hold something else: `device`."""


def _torch() -> Any:
    import torch

    return torch


@contextmanager
def _without_autocast() -> Iterator[None]:
    torch = _torch()
    on = [device for device in _AUTOCAST if torch.is_autocast_enabled(device)]
    for device in on:
        torch.set_autocast_enabled(device, False)
    try:
        yield
    finally:
        for device in on:
            torch.set_autocast_enabled(device, True)


@contextmanager
def _on_the_cpu() -> Iterator[None]:
    torch, before = _torch(), getattr(_OWNERS, "device", None)
    _OWNERS.device = torch.get_default_device()
    try:
        with torch.device("cpu"):
            yield
    finally:
        _OWNERS.device = before


@contextmanager
def _without_inference_mode() -> Iterator[None]:
    torch = _torch()
    with torch.inference_mode(False), torch.no_grad():
        yield


@cache
def _default_dtype() -> Shared:
    torch = _torch()
    return Shared(torch.float32, torch.get_default_dtype, torch.set_default_dtype)


SETTINGS: tuple[Setting, ...] = (
    Setting(lambda: not any(map(_torch().is_autocast_enabled, _AUTOCAST)), _without_autocast),
    Setting(lambda: not _torch().is_inference_mode_enabled(), _without_inference_mode),
    Setting(lambda: _torch().get_default_device().type == "cpu", _on_the_cpu),
    Setting(lambda: _default_dtype().right(), lambda: _default_dtype().held()),
)


_LEAST = sys.float_info.min


def _keeps_subnormals() -> bool:
    """Whether this thread's arithmetic knows the numbers below 2.2e-308, as operands and as results."""
    half = _LEAST * 0.5
    return half != 0.0 and half + half == _LEAST


@contextmanager
def subnormals_kept() -> Iterator[None]:
    """Subnormal numbers are kept in this thread, and in those that it starts."""
    if _keeps_subnormals():
        yield
        return
    torch = _torch()
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(True)


@contextmanager
def own_settings() -> Iterator[None]:
    """What our code is written for, whatever the owner of the process set: dtypes, devices, modes, subnormal numbers; put back behind."""
    with subnormals_kept(), ExitStack() as stack:
        for setting in SETTINGS if "torch" in sys.modules else ():
            if not setting.right():
                stack.enter_context(setting.held())
        yield


@contextmanager
def user_settings() -> Iterator[None]:
    """Default dtype and device as their owner set them, inside `own_settings`: for running a module of theirs."""
    torch, dtype = _torch(), _default_dtype()
    inside, device = torch.get_default_dtype(), getattr(_OWNERS, "device", None)
    with ExitStack() as stack:
        if device is not None:
            stack.enter_context(torch.device(device))
        if dtype.before() != inside:
            stack.callback(torch.set_default_dtype, inside)
            torch.set_default_dtype(dtype.before())
        yield


# --- arithmetic ----------------------------------------------------------------------------------------------------------------

_BELOW_HALF_A_UNIT = 2.0**-60


def _rounds_to_nearest() -> bool:
    return 1.0 + _BELOW_HALF_A_UNIT == 1.0 and 1.0 - _BELOW_HALF_A_UNIT == 1.0


@dataclass(frozen=True)
class Probe:
    """base + factor * 1, which is `expected` bit by bit wherever subnormal numbers are kept and sums rounded to nearest."""

    base: Tensor
    factor: Tensor
    one: Tensor
    expected: np.ndarray


@cache
def _probe(threads: int) -> Probe:
    """Enough elements for torch to give each of its threads some, few of them subnormal, since those are slow."""
    torch, count = _torch(), threads * 32768  # an elementwise operation gives each thread no fewer
    base, factor = np.ones(count, np.float32), np.resize(np.array([2.0**-60, -(2.0**-60)], np.float32), count)
    base[::1024] = 0
    expected = base.view(np.int32).copy()
    expected[::1024] = factor.view(np.int32)[::1024] = 1 << 20  # subnormal, written as bits: arithmetic might make zeros of them
    one = torch.ones(count, dtype=torch.float32, device="cpu")
    return Probe(torch.from_numpy(base), torch.from_numpy(factor), one, expected)


def _torchs_threads_are_exact() -> bool:
    """Whether all threads of torch's pool keep subnormal numbers and round to nearest."""
    torch = sys.modules.get("torch")
    if torch is None or torch.get_num_threads() == 1:
        return True
    probe = _probe(torch.get_num_threads())
    return np.array_equal(torch.addcmul(probe.base, probe.factor, probe.one).numpy().view(np.int32), probe.expected)


_SUBNORMAL = np.diag(np.full(256, 1 << 20, dtype=np.int64))
"""As bits, as in `_probe`: a literal might be read as zero."""


def _numpys_threads_are_exact() -> bool:
    """Whether the threads of numpy's matrix products keep subnormal numbers."""
    return bool(((np.ones(256) @ _SUBNORMAL.view(np.float64)).view(np.int64) == 1 << 20).all())


def _precision(backend: str, operation: str) -> str:
    """What torch computes float32 operations in, "none" and "ieee" being float32."""
    torch = _torch()
    getter = getattr(torch._C, "_get_fp32_precision_getter", None)
    if getter is not None:
        return str(getter(backend, operation))
    exact = torch.get_float32_matmul_precision() == "highest" and not (backend == "cuda" and torch.backends.cuda.matmul.allow_tf32)
    return "ieee" if exact else "tf32"


def _full(backend: str, *operations: str) -> bool:
    return all(_precision(backend, operation) in ("none", "ieee") for operation in operations)


@dataclass(frozen=True)
class Work:
    """What is about to be computed: on which kind of device, and whether in float32."""

    device: str = "cpu"
    single: bool = False


@dataclass(frozen=True)
class Claim:
    """Something that must hold of the process, where it `matters` to the work; why there is no claim where it does not hold."""

    holds: Callable[[], bool]
    reason: str
    matters: Callable[[Work], bool] = lambda work: True


def _single_on(device: str) -> Callable[[Work], bool]:
    return lambda work: work.single and work.device == device


def _unset(name: str, exact: str) -> bool:
    return os.environ.get(name, exact).upper() == exact


_IN_THREADS = (
    "threads of {} that run already drop subnormal numbers, or do not round to nearest: torch.set_flush_denormal(True), or a library "
    "that sets such a mode, came before they were started; start Python anew without it"
)
_PRECISION = (
    "float32 products are computed with fewer digits ({}); call torch.set_float32_matmul_precision('highest') and set fp32_precision "
    "to 'ieee', or ask in float64"
)
CLAIMS: tuple[Claim, ...] = (
    Claim(
        _keeps_subnormals, "this thread drops subnormal numbers, and torch.set_flush_denormal(False) does not help on this machine"
    ),
    Claim(_rounds_to_nearest, "this thread does not round to nearest: some library called fesetround; put it back"),
    Claim(_torchs_threads_are_exact, _IN_THREADS.format("torch")),
    Claim(_numpys_threads_are_exact, _IN_THREADS.format("numpy")),
    Claim(lambda: _full("mkldnn", "matmul", "conv"), _PRECISION.format("oneDNN"), _single_on("cpu")),
    Claim(lambda: _full("cuda", "matmul"), _PRECISION.format("TF32"), _single_on("cuda")),
    *(
        Claim(
            partial(_unset, name, exact),
            f"the environment variable {name} lets float32 products be computed with fewer digits; unset it, or ask in float64",
            _single_on(device),
        )
        for name, exact, device in (
            ("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT", "cpu"),
            ("DNNL_DEFAULT_FPMATH_MODE", "STRICT", "cpu"),
            ("NVIDIA_TF32_OVERRIDE", "0", "cuda"),
        )
    ),
)


@cache
def _convolutions() -> tuple[tuple[Callable[[Work], bool], Shared], ...]:
    """Libraries whose convolutions are no sums of products in some order: errors of one pixel reach others."""
    torch = _torch()

    cudnn, nnpack = torch.backends.cudnn, torch.backends.nnpack
    return (
        (_single_on("cuda"), Shared(False, lambda: cudnn.enabled, lambda value: setattr(cudnn, "enabled", value))),
        (_single_on("cpu"), Shared(False, torch._C._get_nnpack_enabled, nnpack.set_flags)),
    )


@contextmanager
def proving(dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Iterator[None]:
    """`own_settings`, and arithmetic whose errors are those that outward rounding allows for, in `dtype` (float64) on `device`.

    A ValueError says what stands in the way, and how to go on. Takes some 0.1 ms.
    """
    work = Work(str(device).split(":")[0], str(dtype) == "torch.float32")
    with own_settings(), ExitStack() as stack:
        for claim in CLAIMS:
            if claim.matters(work) and not claim.holds():
                raise ValueError(f"nothing can be proved in this process: {claim.reason}")
        for matters, library in _convolutions() if work.single else ():
            if matters(work) and not library.right():
                stack.enter_context(library.held())
        yield
