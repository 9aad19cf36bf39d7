"""Every ONNX operator means what the standard says: held against onnxruntime and the standard's own implementation in float64."""

from __future__ import annotations

import pytest

from certify.io.onnx.table import HANDLERS
from tests.io.fuzz_onnx import disagreements
from tests.io.onnx_samples import SAMPLES

SEEDS = range(12)


def test_every_operator_has_a_sample() -> None:
    assert sorted(HANDLERS) == sorted(SAMPLES)


@pytest.mark.parametrize("op", sorted(HANDLERS))
def test_an_operator_computes_what_the_standard_says(op: str) -> None:
    assert list(disagreements([op], SEEDS)) == []
