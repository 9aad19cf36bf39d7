"""Every command, called with everything that can be wrong about its arguments: one line that says so, and never an error of ours.

`only_mistakes_are_explained` in the common fixtures makes any other exception a failure.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from certify.cli import verify
from certify.cli.main import COMMANDS, main
from certify.cli.watchdog import Watchdog

pytest.importorskip("sklearn")
NUMBERS = ("-1", "0", "0.5", "nan", "inf", "1e400", "1e-400", "1e300", "1/0", "x", "", "9" * 50, "0x10", "\u00b2", "99999", "1_0")
WORDS = ("", "nobody", "a:b", "os:getcwd", "no.such:thing", "cuda:99", "meta", "-", "\u00e9")
FOLDERS = ("nowhere", ".", "text.txt")


def property_text(inputs: int = 9, outputs: int = 2) -> str:
    declared = [f"(declare-const X_{i} Real)" for i in range(inputs)] + [f"(declare-const Y_{i} Real)" for i in range(outputs)]
    box = [f"(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in range(inputs)]
    return "\n".join([*declared, *box, "(assert (>= Y_0 9))"])


def write_model(path: str, *shape: int, classes: int = 2) -> None:
    features = int(np.prod(shape))
    weight = numpy_helper.from_array(np.eye(features, classes, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *size]) for n, size in (("x", shape), ("y", (classes,)))]
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


IMAGE = (1, 3, 3)


def write_good_files() -> None:
    write_model("m.onnx", *IMAGE)
    write_model("bands.onnx", 2, 3, 3)
    np.save("x.npy", np.linspace(1, 0, 9, dtype=np.float32).reshape(IMAGE))
    np.save("rows.npy", np.array([[1.0, -1.0]]))
    np.savez("box.npz", lower=np.zeros(IMAGE), upper=np.ones(IMAGE))
    x = np.random.default_rng(0).integers(0, 256, (24, *IMAGE), dtype=np.uint8)
    np.savez("d.npz", x=x, y=(x[:, 0, 0, 1] > x[:, 0, 0, 0]).astype(int))
    Path("p.vnnlib").write_text(property_text())
    Path("list.csv").write_text("m.onnx,p.vnnlib,5\n")
    Path("gone").write_text("1\n2\n")
    Path("groups").write_text("".join(f"site{i % 5}\n" for i in range(24)))
    for words in (
        "poison partition run --data d.npz --k 3 --learner ridge --classes 0 1",
        "poison train run",
        "poison votes run --data d.npz",
        "poison certify run --edits 0 1 --json c.json",
        "smooth m.onnx --data d.npz --sigma 0.25 --n 50 --n0 10 --max 4 --out log",
    ):
        assert main(words.split()) == 0


def write_bad_files() -> None:
    Path("text.txt").write_text("hello\n")
    for ending in (
        "onnx",
        "onnx.gz",
        "pt2",
        "pt",
        "safetensors",
        "npy",
        "npz",
        "vnnlib",
        "vnnlib.gz",
        "json",
        "jsonl",
        "tsv",
        "sqlite",
        "csv",
    ):
        Path(f"empty.{ending}").write_bytes(b"")
        Path(f"noise.{ending}").write_bytes(random.Random(0).randbytes(300))
        Path(f"text.{ending}").write_text("hello\n")
        Path(f"wide.{ending}").write_bytes("hello".encode("utf-16"))
        Path(f"folder.{ending}").mkdir()
    for whole in ("m.onnx", "x.npy", "d.npz", "box.npz", "c.json", "log.jsonl", "log.tsv", "p.vnnlib"):
        content = Path(whole).read_bytes()
        Path(f"cut.{whole.rpartition('.')[2]}").write_bytes(content[: 2 * len(content) // 3])
        Path(f"packed.{whole}.gz").write_bytes(gzip.compress(content)[:-9])
    np.save("nan.npy", np.full(IMAGE, np.nan))
    np.save("shape.npy", np.zeros((3, 3, 1)))
    np.save("empty_array.npy", np.zeros((0, 2)))
    np.save("one.npy", np.float64(3))
    np.save("words.npy", np.array(["a", "b"]))
    np.save("complex.npy", np.array([1j, 2]))
    np.save("large.npy", np.full(IMAGE, 2**62 + 1))
    np.save("pickled.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    claims = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }"
    Path("claims.npy").write_bytes(claims.ljust(127) + b"\n")
    labels, inputs = np.zeros(4, int), np.zeros((4, *IMAGE))
    for name, arrays in {
        "nan": {"x": inputs * np.nan, "y": labels},
        "negative": {"x": inputs, "y": labels - 1},
        "many": {"x": inputs, "y": labels + 7},
        "empty": {"x": inputs[:0], "y": labels[:0]},
        "shape": {"x": np.zeros((4, 3, 3, 1)), "y": labels},
        "labels": {"x": inputs, "y": labels + 0.5},
        "names": {"a": inputs},
        "domain": {"x": inputs, "y": labels, "domain": np.array([1, 0])},
        "large": {"x": inputs + 1e300, "y": labels},
        "ends": {"lower": np.ones(2), "upper": np.zeros(2)},
        "sides": {"lower": np.ones(3), "upper": np.zeros(2)},
        "mixed": {"x": inputs, "y": labels, "lower": labels, "upper": 1},
    }.items():
        np.savez(f"{name}.npz", **arrays)
    for name, text in {
        "list": "[]",
        "object": "{}",
        "number": "1",
        "deep": "[" * 100_000,
        "poison": '{"schema": "certify.poison/1"}',
        "odd": '{"schema": "certify.poison/1", "answers": 1, "labels": [1], "radii": "x"}',
        "run": '{"schema": "certify.poison-run/1", "classes": 3}',
        "log1": '{"schema": "certify.smooth/1"}\n{"idx": 1}',
        "log2": '{"schema": "certify.smooth/1"}\n{"idx": 0, "label": 0, "predict": 0, "radius": "x", "seconds": null}',
    }.items():
        Path(f"{name}.json").write_text(text)
        Path(f"{name}.jsonl").write_text(text)
    Path("row.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n1\tx\n")
    Path("row.csv").write_text("m.onnx,p.vnnlib\n")
    Path("none.csv").write_text("nowhere.onnx,nowhere.vnnlib,1\n")
    Path("head.sqlite").write_bytes(b"SQLite format 3\0" + bytes(200))
    Path("three.vnnlib").write_text(property_text(3, 1))
    Path("unbound.vnnlib").write_text(property_text().replace("(assert (<= X_1 1))", ""))
    write_model("other.onnx", 3, 3, 1, classes=3)
    write_model("single.onnx", *IMAGE, classes=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with good files and with bad ones, as the current one."""
    folder = tmp_path_factory.mktemp("mistakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(verify, "Watchdog", partial(Watchdog, end=lambda code: None))  # which would end the tests
        write_good_files()
        write_bad_files()
        yield folder


# The arguments of a call that is right, what each of its words can be instead, and words that may be added.
BASES: tuple[str, ...] = (
    "verify m.onnx p.vnnlib --timeout 5 --seed 1 --witness w.txt --device cpu",
    "verify m.onnx --around x.npy --eps 0.1 --norm 2 --domain 0 1 --label 0 --scale 1 --layout nchw --timeout 5",
    "verify --arch a:b --weights text.pt --input-shape 1 3 3 --around x.npy --eps 0.1",
    "accuracy m.onnx --data d.npz --eps 0.1 --max 4 --batch 2 --domain 0 1 --json a.json --seed 1 --scale 255",
    "bounds m.onnx --around x.npy --eps 0.1 --node y --objective rows.npy --method ibp --device cpu",
    "bounds m.onnx --box box.npz --objective rows.npy",
    "inspect m.onnx",
    "smooth m.onnx --data d.npz --sigma 0.25 --n 20 --n0 5 --max 2 --alpha 0.01 --batch 8 --skip 5 --seed 1 --out OUT --device cpu",
    "smooth m.onnx --data d.npz --sigma 0.25 --n 20 --n0 5 --max 2 --radius 0.1 --sequential --rule union --out OUT --input-range 0 1",
    "smooth m.onnx --data d.npz --sigma 0.25 --n 20 --n0 5 --max 2 --radii 0.1 --variant pa --noise real --classes 2 --out OUT",
    "smooth --dual m.onnx m.onnx --data d.npz --sigma 0.25 --n 20 --n0 5 --max 2 --out OUT",
    "smooth exact m.onnx --data d.npz --passes 255 --levels 255 --max 2 --out OUT",
    "smooth exact bands.onnx --data d.npz --columns 1 --max 2 --out OUT",
    "smooth plan --sigma 0.25 --radius 0.5 --n 100 --alpha 0.01",
    "smooth audit log.jsonl",
    "smooth audit log.tsv --sigma 0.25 --n 50 --alpha 0.01",
    "poison partition FRESH --data d.npz --k 3 --d 1 --learner ridge --classes 0 1 --boost 1 --seed 1 --groups groups --max 24 --scale 1",
    "poison train run --workers 0/2 --jobs 1",
    "poison votes run --data d.npz --max 24",
    "poison certify run --edits 0 1 --collective 1 --attack 0 --threat insert_delete --json c2.json",
    "poison certify run --evasion-eps 0.1 --norm inf --domain 0 1",
    "poison check c.json --min-certified-accuracy 0.1@1",
    "poison audit run --top 2 --rule runoff",
    "poison update run --remove gone --add d.npz --groups groups",
    "poison verify run --retrain 2 --bucket 0",
    "report log.jsonl --sigma 0.25 --n 50 --alpha 0.01 --radii 0.1 --format csv --out r.csv",
    "report c.json --edits 0 1",
    "report head.sqlite --baseline head.sqlite --run 1",
    "bench list.csv --out FRESH.sqlite --workers 1 --timeout 5 --memory 0.5 --tool-cmd true --every 1",
    "demo nowhere --data nowhere",
    "supports --onnx-operators",
)
WRONG_BY_THEMSELVES = ("--arch", "--evasion-eps", "head.sqlite", "demo", "bench", "poison update")
"""Calls that fail or that may be made once only."""


def replacements(word: str, before: str) -> Sequence[str]:
    """What may stand wrongly in the place of a word."""
    if before in ("--out", "--json", "--witness"):
        return ("nowhere/out", ".", "", "\0", "x" * 5000, "folder.json", "/proc/x.json", *["/dev/full"] * (before != "--out"))
    if word.rpartition(".")[2] in ("onnx", "npy", "npz", "vnnlib", "json", "jsonl", "tsv", "csv", "sqlite", "pt"):
        return [*sorted(map(str, Path().glob("*.*"))), "nowhere", ".", "", "\0", "x" * 5000, "nowhere/y.npz", "/proc/x.json"]
    if word.replace(".", "").isdigit():
        return NUMBERS
    if word.startswith("--"):
        return ["--nothing", ""]
    return (*WORDS, *FOLDERS, "empty.json", "noise.tsv", "wide.csv") if before else ()


def mutations(base: str, chance: random.Random, count: int) -> Iterator[list[str]]:
    """Calls that differ from one in a word that is replaced or left out; every word has its turn."""
    words = base.split()
    slots = [i for i in range(1, len(words)) if words[i] not in ("exact", "plan", "audit") and i > (words[0] == "poison")]
    for turn in range(count):
        i = slots[turn % len(slots)]
        wrong = replacements(words[i], words[i - 1])
        yield [*words[:i], chance.choice(wrong), *words[i + 1 :]] if wrong and turn < 5 * count // 6 else words[:i] + words[i + 1 :]


def call(argv: list[str], number: object) -> tuple[int, bool]:
    """The exit code, and whether the arguments were refused before anything was read."""
    named = [word.replace("FRESH", f"fresh{number}").replace("OUT", f"out{number}.tsv") for word in argv]
    try:
        return main(named), False
    except SystemExit as stop:
        return int(stop.code or 0), True


EACH = 20
"""Wrong calls for every base."""


def test_every_command_has_a_call_to_go_wrong() -> None:
    assert {base.split()[0] for base in BASES} == set(COMMANDS)


@pytest.mark.parametrize("base", BASES)
def test_wrong_arguments_are_explained_in_one_line(base: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(base)
    for number, argv in enumerate(mutations(base, chance, EACH)):
        capsys.readouterr()
        code, usage = call(argv, f"{BASES.index(base)}-{number}")
        error = capsys.readouterr().err
        assert code in (0, 1, 2), argv
        complaints = [line for line in error.splitlines() if line.startswith(("certify: error", "certify: internal"))]
        assert usage or len(complaints) == (code == 2), (argv, error)
        assert "Traceback" not in error, argv


@pytest.mark.parametrize("base", [base for base in BASES if not any(words in base for words in WRONG_BY_THEMSELVES)])
def test_the_calls_that_the_wrong_ones_are_made_of_are_right(base: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that it is the wrong word that is refused."""
    assert call(base.split(), f"right{BASES.index(base)}") == (0, False), capsys.readouterr().err


@pytest.mark.parametrize("command", ["smooth m.onnx --data d.npz --sigma 0.25 --out o.tsv", "bounds m.onnx --box box.npz"])
@pytest.mark.parametrize("device", ["cuda:77", "meta", "nowhere", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(command: str, device: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--device", device]) == 2
    assert f"--device {device} cannot be used" in capsys.readouterr().err
