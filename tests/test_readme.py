"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from certify.cli.main import main
from certify.io.datasets import load_data

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split(" #")[0].strip() for line in README.splitlines() if re.match(r"certify \w+ .*models/|certify supports", line)
]


def test_the_python_examples_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(ROOT)
    scope: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(example, scope)
    assert scope["lower"].shape == (32, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_examples_run(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(ROOT)
    point = tmp_path / "x.npy"
    np.save(point, load_data("digits", 1).x[0])
    assert main([str(point) if word == "x.npy" else word for word in shlex.split(command)[1:]]) == 0


def test_every_part_of_the_code_map_exists() -> None:
    folders = re.findall(r"^\| `([\w/]+/)` \|", README, re.MULTILINE)
    assert len(folders) > 10
    assert all((ROOT / folder).is_dir() for folder in folders)
