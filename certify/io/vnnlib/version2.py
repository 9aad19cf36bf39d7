"""VNN-LIB 2.0: a network declared with tensors, then assertions over their elements.

Grammar: VNNLIB/VNNLIB-Standard, syntax/grammar.cf. What the engine cannot treat (several networks, several inputs or outputs,
hidden nodes, polynomials) is refused by name.
"""

from __future__ import annotations

import re
from math import prod

from certify.io.vnnlib.build import build
from certify.io.vnnlib.expressions import INPUT, OUTPUT, Dialect, Disjunction, Variable, read_assertions
from certify.io.vnnlib.source import END, Cursor, pattern
from certify.specification import Declaration, Specification, Tensor

_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_NETWORK = pattern(rf"\( declare-network ({_NAME})")
_EQUIVALENCE = pattern(rf"\( ((?:equal|isomorphic)-to) {_NAME} \)")
_TENSOR = pattern(rf"\( declare-(input|output) ({_NAME}) ({_NAME}) \[((?: [0-9]+ ,)* [0-9]+)? \] (initialized )?\)")
_HIDDEN = pattern(r"\( declare-hidden")
_CLOSE = pattern(r"\)")
_ELEMENT = re.compile(rf"({_NAME})(?:\s*\[([^\]]*)\])?")

REAL_TYPES = ("real", "Real", "float16", "float32", "float64", "bfloat16")


def read_version2(cursor: Cursor, version: str) -> Specification:
    """The specification of a VNN-LIB 2.0 text after its version line; a ValueError with line and column where it is malformed."""
    found = cursor.expect(_NETWORK, "(declare-network NAME ...)")
    if equivalence := cursor.match(_EQUIVALENCE):
        cursor.fail(f"({equivalence.group(1)} ...): queries over several networks are not supported", equivalence.start(1))
    input_ = _tensor(cursor, "input")
    if cursor.match(_HIDDEN):
        cursor.fail("declare-hidden: properties of hidden nodes are not supported; export the network up to that node instead")
    output = _tensor(cursor, "output")
    cursor.expect(_CLOSE, "')' at the end of the network (one input and one output are supported)")
    if cursor.match(_NETWORK):
        cursor.fail("a second network: queries over several networks are not supported")
    declaration = Declaration(version, found.group(1), input_, output)
    if input_.name == output.name:
        cursor.fail(f"{output.name} is declared twice")
    assertions = _assertions(cursor, declaration)
    inputs, outputs = prod(input_.shape), prod(output.shape)
    return build(assertions, inputs, outputs, declaration, cursor, lambda index: element(input_, index), _notes(declaration))


def element(tensor: Tensor, index: int) -> str:
    """How a 2.0 file spells the element at a flat index: X[0,2], or X alone of a scalar."""
    indices = []
    for size in reversed(tensor.shape):
        index, i = divmod(index, size)
        indices.append(str(i))
    return f"{tensor.name}[{','.join(reversed(indices))}]" if indices else tensor.name


def _tensor(cursor: Cursor, kind: str) -> Tensor:
    found = cursor.expect(_TENSOR, f"(declare-{kind} NAME TYPE [SHAPE])")
    if found.group(1) != kind:
        cursor.fail(f"declare-{found.group(1)}: exactly one input and one output are supported", found.start(1))
    _, name, dtype, shape, initialized = found.groups()
    if dtype not in REAL_TYPES:
        cursor.fail(f"element type {dtype} of {name}: bounds are computed for {', '.join(REAL_TYPES)}", found.start(3))
    if initialized:
        cursor.fail(f"{name} is initialized: default inputs are not supported; state its values as assertions", found.start(5))
    sizes = tuple(int(size) for size in re.findall(r"[0-9]+", re.sub(r";[^\n]*", "", shape or "")))
    if 0 in sizes:
        cursor.fail(f"{name} has a dimension of size 0", found.start(2))
    return Tensor(name, dtype, sizes)


def _assertions(cursor: Cursor, declaration: Declaration) -> list[Disjunction]:
    tensors = {declaration.input.name: (INPUT, declaration.input), declaration.output.name: (OUTPUT, declaration.output)}

    def resolve(spelling: str) -> Variable:
        found = _ELEMENT.fullmatch(spelling)
        if not found or found.group(1) not in tensors:
            raise ValueError(f"{spelling} is not declared; there are {' and '.join(tensors)}")
        kind, tensor = tensors[found.group(1)]
        return kind, _flat(tensor, tuple(int(i) for i in (found.group(2) or "").split(",") if i.strip()))

    dialect = Dialect(
        number=r"-?[0-9]+(?:\.[0-9]+)?",
        variable=rf"{_NAME}(?:\s*\[\s*[0-9]+(?:\s*,\s*[0-9]+)*\s*\])?",
        comparisons=("<=", ">=", "<", ">", "==", "!="),
        chained=False,
        resolve=resolve,
        number_hint="0.5 or -2; no exponents",
    )
    assertions = read_assertions(cursor, dialect)
    if not cursor.match(END):
        cursor.fail(f"expected (assert ...), found {cursor.text[cursor.at :].strip()[:40]!r}")
    return assertions


def _flat(tensor: Tensor, indices: tuple[int, ...]) -> int:
    """The C-order index of an element; a ValueError where the indices do not fit the shape."""
    if len(indices) != len(tensor.shape) or any(i >= size for i, size in zip(indices, tensor.shape, strict=True)):
        raise ValueError(f"{tensor.name}{list(indices)} is no element of {tensor.name}, whose shape is {list(tensor.shape)}")
    flat = 0
    for i, size in zip(indices, tensor.shape, strict=True):
        flat = flat * size + i
    return flat


def _notes(declaration: Declaration) -> tuple[str, ...]:
    types = sorted({declaration.input.dtype, declaration.output.dtype} - {"real", "Real"})
    if not types:
        return ()
    return (f"declared {' and '.join(types)}; unsat is about real arithmetic on the stored weights, sat about float32 execution",)
