"""The project as others get it: a wheel that works away from its checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip")


def call(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of what is in the checkout, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("certify", "kernels"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    call(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(source))
    return next(folder.glob("certify-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel installed into a folder of its own."""
    target = wheel.parent / "target"
    call(*PIP, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def run(installed: Path, *arguments: str) -> str:
    """Standard output of Python started away from the checkout, with the installed wheel in front of everything else."""
    return call(sys.executable, *arguments, cwd=installed.parent, PYTHONPATH=str(installed))


def test_the_wheel_holds_every_module_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(ROOT)) for path in (ROOT / "certify").rglob("*.py") if "kernels" not in path.relative_to(ROOT).parts
    } | {f"certify/{path.relative_to(ROOT)}" for path in (ROOT / "kernels").rglob("*.py")}
    assert expected | {"certify/report/page.html"} <= names
    assert not any(name.startswith(("tests/", "kernels/", "bench/")) for name in names)


def test_the_installed_package_does_not_come_from_the_checkout(installed: Path) -> None:
    where = run(installed, "-c", "import certify; print(certify.__file__)").strip()
    assert where.startswith(str(installed))


@pytest.mark.parametrize("module", sorted(f"certify.kernels.{path.stem}" for path in (ROOT / "kernels").glob("[!_]*.py")))
def test_installed_kernels_are_importable(installed: Path, module: str) -> None:
    where = run(installed, "-c", f"import {module} as kernel; print(kernel.__file__)").strip()
    assert where.startswith(str(installed))


def test_the_installed_command_shows_its_help(installed: Path) -> None:
    assert "verify" in run(installed, "-m", "certify", "--help")


def test_the_installed_package_computes_bounds(installed: Path) -> None:
    script = (
        "import certify, torch; layer = torch.nn.Linear(2, 1);"
        "lower, upper = certify.bounds(layer, certify.Box(torch.zeros(1, 2), torch.ones(1, 2)), method='ibp');"
        "print(bool((lower <= upper).all()))"
    )
    assert run(installed, "-c", script).strip() == "True"
