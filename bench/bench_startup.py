"""Claim: nobody waits for the command line: `certify --help` imports no torch, and a second start compiles nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from bench.measure import python_time
from bench.networks import ROOT

_MODEL = ROOT / "models" / "digits_mlp.onnx"
_BOUNDS = f"""
import certify, torch
x = torch.zeros(1, 1, 8, 8)
certify.bounds(certify.load({str(_MODEL)!r}), certify.Box(x, x + 0.1))
"""

STARTS: Mapping[str, Callable[[], float]] = {
    "python alone": partial(python_time, "-c", ""),
    "import certify": partial(python_time, "-c", "import certify"),
    "certify --help": partial(python_time, "-m", "certify", "--help"),
    "import torch": partial(python_time, "-c", "import torch"),
    "certify inspect of a small model": partial(python_time, "-m", "certify", "inspect", str(_MODEL)),
    "load a small model, one crown bound": partial(python_time, "-c", _BOUNDS),
}
"""Seconds of a whole process, by what it does; the second start of each, as files and compilations are cached then."""


@pytest.mark.parametrize("name", STARTS)
def test_start(benchmark: Any, name: str) -> None:
    benchmark.pedantic(STARTS[name], rounds=5, warmup_rounds=1)
