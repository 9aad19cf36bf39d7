"""The operator table: one row an operator. Nothing about an operator lives elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPS: Mapping[str, Any] = {}
