"""`certify supports` answers as VNN-LIB 2.0 asks: plain lists, one entry a line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from certify.cli.supports import CAPABILITIES
from certify.io.onnx.table import HANDLERS, OPERATORS

Certify = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_capability_is_a_plain_list(certify: Certify, capability: str) -> None:
    code, out, error = certify("supports", f"--{capability}")
    assert (code, error) == (0, "")
    assert out.strip()
    assert all(len(line.split()) == 1 for line in out.splitlines())


def test_onnx_operators_are_those_of_the_importer(certify: Certify) -> None:
    assert set(certify("supports", "--onnx-operators")[1].split()) == set(OPERATORS) >= set(HANDLERS)


def test_without_an_option_everything_is_listed(certify: Certify) -> None:
    out = certify("supports")[1]
    assert all(f"--{capability}" in out for capability in CAPABILITIES)
