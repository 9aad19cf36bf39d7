"""Witnesses: points that satisfy a property, replayed in the original model, and their text forms in VNN-LIB 1.0 and 2.0."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from certify.graph.formats import FORMATS
from certify.io.vnnlib import element
from certify.model import Model
from certify.specification import Declaration, Specification, Tensor
from certify.specification.specification import Shape

Assignment = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Input and output, flat."""

Written = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The same as they stand in a text."""


class Question(Protocol):
    """A specification, or one that waits for the network's shapes."""

    def bind(self, input_shape: Shape, output_shape: Shape) -> Specification:
        """The specification for a network of these shapes."""


@dataclass(frozen=True)
class Witness:
    """An input and the output that the original model gave for it: arrays of the model's shapes.

    Where the input set holds no float32 point, the point is `exact`, one number an input; `x` is then the nearest float64, and the model
    ran at the nearest float32.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    exact: tuple[Fraction, ...] | None = None

    @property
    def written(self) -> list[str]:
        """The input as text, flat: each number in as few digits as say what it is, without an exponent."""
        return [_decimal(value) for value in self.x.ravel()] if self.exact is None else [exact_decimal(v) for v in self.exact]


def exact_decimal(number: Fraction) -> str:
    """All digits of a number, without an exponent; numerator/denominator where they do not end."""
    rest, twos, fives = number.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{number.numerator}/{number.denominator}"
    places = max(twos, fives)
    digits = str(abs(number.numerator) * 10**places // number.denominator).rjust(places + 1, "0")
    whole, part = (digits[:-places], digits[-places:]) if places else (digits, "0")
    return f"{'-' if number < 0 else ''}{whole}.{part}"


@dataclass(frozen=True)
class Replay:
    """What came of running a point in the original model: `clause` is the number of the first clause it satisfies, or None.

    `reason` says why it satisfies none.
    """

    witness: Witness
    clause: int | None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the point is a witness: inside an exact input set, all atoms exactly true."""
        return self.clause is not None


def replay(model: Model, spec: Question, x: NDArray[np.floating], clauses: NDArray[np.intp] | None = None) -> Replay:
    """Runs x, rounded to what the model takes, in the original model and checks it strictly: exact input set, exact atoms, no tolerance.

    What is checked is the point that is run: a float16 point of a float16 model, a float32 point of others. `clauses` limits the check
    to some clauses. A model built by hand is its own original. A ValueError where the output is NaN.
    """
    bound = spec.bind(model.graph.input_shape, model.graph.output_shape)
    rounded = FORMATS[model.precision].round(np.asarray(x, dtype=np.float32))
    point = rounded.astype(np.float32, copy=False).reshape(model.graph.input_shape)
    y = run_original(model, point)
    witness = Witness(point, y)
    numbers = range(len(bound.clauses)) if clauses is None else [int(i) for i in clauses]
    inside = {r: bound.inputs.contains(r, point.ravel()) for r in {bound.clauses[i].region for i in numbers}}
    if not any(inside.values()):
        return Replay(witness, None, f"the point, as {model.precision}, lies outside the input set")
    for i in numbers:
        clause = bound.clauses[i]
        if inside[clause.region] and all(atom.holds(point.ravel(), y.ravel()) for atom in clause.atoms):
            return Replay(witness, i)
    return Replay(witness, None, "the output satisfies no clause")


def run_original(model: Model, x: NDArray[np.float32]) -> NDArray[np.floating]:
    """The original's output at one float32 point; a ValueError where it is NaN."""
    y = _evaluate(model, x.reshape(model.graph.input_shape))
    if np.isnan(y).any():
        raise model.no_number_at(x)
    return y


def _evaluate(model: Model, x: NDArray[np.float32]) -> NDArray[np.floating]:
    if model.reference is not None:
        y = np.asarray(model.reference(x))
        return y.astype(np.promote_types(y.dtype, np.float32), copy=False)
    import torch

    with torch.no_grad():
        return model.program(torch.float32).evaluate(torch.from_numpy(x)[None])[0].numpy()


def format_witness(spec: Question, witness: Witness) -> str:
    """The assignment as text, in the form of the property's VNN-LIB version, each number the shortest that reads back unchanged."""
    declaration = spec.bind(witness.x.shape, witness.y.shape).declaration
    return _FORMS[declaration.version].write(declaration, witness)


def parse_witness(spec: Specification, text: str) -> Assignment:
    """Input (rounded to float32) and output of an assignment, both flat; a first line `sat` is skipped.

    A ValueError names what is missing or is no number.
    """
    x, y = read_assignment(spec, text)
    with np.errstate(over="ignore"):
        return x.astype(np.float32), y


def read_assignment(spec: Specification, text: str) -> Written:
    """The same with the input as it was written, not rounded to float32."""
    body = text.strip()
    return _FORMS[spec.declaration.version].parse(spec.declaration, body[3:] if body.startswith("sat") else body)


def _decimal(value: np.floating) -> str:
    """Without an exponent, which version 2.0 does not know."""
    return np.format_float_positional(value, unique=True, trim="0")


def _decimals(values: NDArray[np.floating]) -> list[str]:
    return [_decimal(value) for value in values.ravel()]


def _write_flat(declaration: Declaration, witness: Witness) -> str:
    """((X_0 0.1) (X_1 0.2) (Y_0 0.3))"""
    pairs = [
        (f"{name}_{i}", text)
        for name, texts in (("X", witness.written), ("Y", _decimals(witness.y)))
        for i, text in enumerate(texts)
    ]
    return "(" + "\n ".join(f"({name} {text})" for name, text in pairs) + ")"


def _parse_flat(declaration: Declaration, text: str) -> Written:
    found = dict(re.findall(r"\(\s*([XY]_[0-9]+)\s+([^\s()]+)\s*\)", text))
    x = [_number(found, f"X_{i}") for i in range(declaration.input.shape[0])]
    y = [_number(found, f"Y_{i}") for i in range(declaration.output.shape[0])]
    return np.array(x, np.float64), np.array(y, np.float64)


def _write_tensors(declaration: Declaration, witness: Witness) -> str:
    """X float32 [1,2], then one value a line; then the output likewise."""
    lines = []
    for tensor, texts in ((declaration.input, witness.written), (declaration.output, _decimals(witness.y))):
        lines += [f"{tensor.name} {tensor.dtype} {_shape(tensor)}", *texts]
    return "\n".join(lines)


def _parse_tensors(declaration: Declaration, text: str) -> Written:
    words = re.sub(r"\s*,\s*", ",", text).split()
    x, words = _take_tensor(declaration.input, words)
    y, words = _take_tensor(declaration.output, words)
    if words:
        raise ValueError(f"the witness goes on after {declaration.output.name}: {words[0]!r}")
    return np.array(x, np.float64), np.array(y, np.float64)


def _take_tensor(tensor: Tensor, words: list[str]) -> tuple[list[float], list[str]]:
    """The values of a tensor at the start of the words, and the words after them."""
    if len(words) < 3 or words[0] != tensor.name or words[2] != _shape(tensor):
        expected = f"{tensor.name} {tensor.dtype} {_shape(tensor)}"
        raise ValueError(f"the witness should go on with {expected!r}, found {' '.join(words[:3])!r}")
    names = [element(tensor, i) for i in range(prod(tensor.shape))]
    found = dict(zip(names, words[3:], strict=False))
    return [_number(found, name) for name in names], words[3 + len(names) :]


def _shape(tensor: Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


@dataclass(frozen=True)
class _Form:
    """A text form of assignments."""

    write: Callable[[Declaration, Witness], str]
    parse: Callable[[Declaration, str], Written]


_FORMS = {"1.0": _Form(_write_flat, _parse_flat), "2.0": _Form(_write_tensors, _parse_tensors)}


def _number(found: dict[str, str], name: str) -> float:
    try:
        return float(found[name])
    except KeyError:
        raise ValueError(f"the witness gives no value for {name}") from None
    except ValueError:
        raise ValueError(f"the witness gives {found[name]!r} for {name}, which is no number") from None
