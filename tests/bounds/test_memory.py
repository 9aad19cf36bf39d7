"""Memory of bounds on a network of competition size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import resource, sys, torch, certify
from certify.sets import Box
model = certify.load(sys.argv[1])
x = torch.full((1, *model.graph.input_shape), 0.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    lower, upper = certify.bounds(model, Box(x - 1 / 255, x + 1 / 255), "crown")
assert bool((lower <= upper).all())
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_crown_on_a_residual_network_of_the_competition_stays_below_two_gigabytes(data_dir: Path) -> None:
    found = sorted(data_dir.glob("vnncomp/sri_resnet_a/onnx/*.onnx*"))
    if not found:
        pytest.skip("the network sri_resnet_a is not among the data")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", MEASURE, str(found[0])], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    peak = int(run.stdout.split()[1])
    assert peak < 2 << 20, f"{peak >> 10} MB"
