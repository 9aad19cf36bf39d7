"""Instance lists are read row by row, as the competition writes them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from certify.bench.instances import LIST, benchmark_name, files, obstacle, read_instances


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file under the temporary folder, with its folders."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return write


Write = Callable[..., Path]


def test_rows_keep_their_numbers_whatever_is_selected(write: Write, tmp_path: Path) -> None:
    write(f"acas/{LIST}", "".join(f"net_{i % 2}.onnx,p_{i}.vnnlib,{i + 1}\r\n" for i in range(7)))
    chosen = read_instances([tmp_path / "acas"], every=2)
    assert [(i.benchmark, i.row, i.model, i.timeout) for i in chosen] == [("acas", n, "net_0.onnx", n + 1.0) for n in (0, 2, 4, 6)]
    assert [i.row for i in read_instances([tmp_path / "acas"], containing="net_1")] == [1, 3, 5]
    assert [i.row for i in read_instances([tmp_path / "acas"], every=3, containing="p_3")] == [3]


def test_a_folder_of_benchmarks_gives_each_of_them(write: Write, tmp_path: Path) -> None:
    for name in ("b", "a", "c/2.0"):
        write(f"{name}/{LIST}", "m,p,1\n")
    assert [i.benchmark for i in read_instances([tmp_path])] == ["a", "b"]
    assert [i.benchmark for i in read_instances([tmp_path / "c"])] == ["c/2.0"]
    assert benchmark_name(tmp_path / "a" / "quick.csv") == "a/quick"


def test_the_same_row_twice_is_two_instances(write: Write, tmp_path: Path) -> None:
    write(f"a/{LIST}", "m,p,1\nm,p,1\n\n")
    assert [i.row for i in read_instances([tmp_path / "a"])] == [0, 1]


def test_verdicts_pair_by_row(write: Write, tmp_path: Path) -> None:
    write(f"a/{LIST}", "m,p,1\nm,p,1\nm,q,1\n")
    write("a/expected.csv", "onnx,vnnlib,verdict\nm,p,sat\nm,p,unsat\nm,q,unknown\n")
    assert [i.expected for i in read_instances([tmp_path / "a"])] == ["sat", "unsat", "unknown"]
    assert [i.row for i in read_instances([tmp_path / "a"], only_expected=True)] == [0, 1]


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("onnx,vnnlib,verdict\nm,p,sat\n", "1 verdicts for the 2 rows"),
        ("onnx,vnnlib,verdict\nm,p,sat\nm,p,sat\n", "row 1 is about other files"),
        ("onnx,vnnlib\nm,p\nm,q\n", "a column `verdict`"),
    ],
)
def test_verdicts_that_do_not_pair_are_refused(write: Write, tmp_path: Path, expected: str, message: str) -> None:
    write(f"a/{LIST}", "m,p,1\nm,q,1\n")
    write("a/expected.csv", expected)
    with pytest.raises(ValueError, match=message):
        read_instances([tmp_path / "a"])


def test_packed_files_are_found_and_hashed(write: Write, tmp_path: Path) -> None:
    write(f"a/{LIST}", "onnx/m.onnx,p.vnnlib,1\n")
    write("a/p.vnnlib", "property")
    packed = write("a/onnx/m.onnx.gz", "")
    packed.write_bytes(gzip.compress(b"weights"))
    [instance] = read_instances([tmp_path / "a"])
    assert obstacle(instance) is None
    assert files(instance) == (packed, tmp_path / "a" / "p.vnnlib")
    packed.write_bytes(gzip.compress(b"other weights"))
    [changed] = read_instances([tmp_path / "a"])
    assert changed.model_hash != instance.model_hash != ""
    assert changed.property_hash == instance.property_hash


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("\"[('f', 'a.onnx'), ('g', 'b.onnx')]\"", r"several networks \(f, g\)"),
        ('"[(\'f\', __import__("")"', "cannot read"),
        ("[1]", "cannot read"),
        ("missing.onnx", "there is no file .*missing.onnx"),
    ],
)
def test_what_cannot_be_run_says_why(write: Write, tmp_path: Path, model: str, reason: str) -> None:
    write(f"a/{LIST}", f"{model},p.vnnlib,1\n")
    write("a/p.vnnlib", "property")
    [instance] = read_instances([tmp_path / "a"])
    assert instance.model_hash == instance.property_hash == ""
    with pytest.raises(ValueError, match=reason):
        raise ValueError(obstacle(instance))


def test_a_list_of_one_network_is_that_network(write: Write, tmp_path: Path) -> None:
    write(f"a/{LIST}", "\"[('f', 'a.onnx')]\",./p.vnnlib,1\n")
    write("a/p.vnnlib", "property")
    model = write("a/a.onnx", "weights")
    [instance] = read_instances([tmp_path / "a"])
    assert files(instance)[0] == model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m,p\n", r"row 0 has 2 cells"),
        ("m,p,1\n[('f', 'a'), ('g', 'b')],p,1\n", "row 1 has 6 cells.*quote"),
        ("onnx,vnnlib,timeout\n", "'timeout' is no number of seconds; a list has no header"),
        ("m,p,nan\n", "positive and finite"),
        ("m,p,-1\n", "positive and finite"),
        ("\xff\x00", "cannot be read as comma-separated text|cells"),
    ],
)
def test_a_malformed_row_is_named(write: Write, tmp_path: Path, text: str, message: str) -> None:
    path = write(f"a/{LIST}", text)
    with pytest.raises(ValueError, match=message):
        read_instances([path])


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"neither an instance list nor a folder with instances.csv"):
            read_instances([path])


def test_two_lists_of_one_name_are_refused(write: Write, tmp_path: Path) -> None:
    for folder in "xy":
        write(f"{folder}/a/{LIST}", "m,p,1\n")
    with pytest.raises(ValueError, match="several lists belong to a benchmark 'a'"):
        read_instances([tmp_path / "x", tmp_path / "y"])


def test_every_list_of_the_competition_is_read(data_dir: Path) -> None:
    instances = read_instances([data_dir / "vnncomp"])
    assert len(instances) == 414
    assert all(obstacle(instance) is None and instance.expected for instance in instances)
