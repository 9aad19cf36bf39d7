"""Opens the files of an instance again and runs points in onnxruntime: all that a check of witnesses relies on.

Neither our graphs nor our bounds take part. A file counts only if it is the one of the run, by its hash.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from certify.io.vnnlib import read_vnnlib
from certify.report.store import Instance
from certify.specification import Specification

T = TypeVar("T")
ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


class UnreadableError(Exception):
    """A model or property that is gone, has changed, or cannot be read; says which."""


class Network:
    """A model file in onnxruntime on the CPU, on one thread."""

    def __init__(self, path: Path) -> None:
        """Opens a model of one input, gzipped or not."""
        import onnxruntime  # slow to import

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # the network as written: see io.onnx.runtime
        content = path.read_bytes()
        model = gzip.decompress(content) if path.suffix == ".gz" else content
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        [self._input] = self._session.get_inputs()
        self.shape = tuple(size if isinstance(size, int) else 1 for size in self._input.shape)
        self.dtype = np.dtype(ELEMENT_TYPES[self._input.type])

    def __call__(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """The first output, flat, for one flat input, which is rounded to the model's element type."""
        if x.size != prod(self.shape):
            raise ValueError(f"the property speaks of {x.size} inputs, the model has shape {list(self.shape)}")
        point = x.astype(self.dtype).reshape(self.shape)
        return np.asarray(self._session.run(None, {self._input.name: point})[0]).ravel()


class Files:
    """Opens the models and properties of instances; the last one of each is kept, for the next instance."""

    def __init__(self) -> None:
        self._models, self._properties = Latest(Network), Latest(read_vnnlib)

    def open(self, instance: Instance) -> tuple[Specification, Network]:
        """Property and model; `UnreadableError` where one of them cannot be had."""
        specification = self._properties(instance.path(instance.property), instance.property_hash)
        return specification, self._models(instance.path(instance.model), instance.model_hash)


class Latest(Generic[T]):
    """Reads files, and remembers the last one."""

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._last: tuple[tuple[Path, str], T] | None = None

    def __call__(self, path: Path, digest: str) -> T:
        """What the file holds; `UnreadableError` where it is gone, is not the one with this SHA-256, or cannot be read."""
        key = (path, digest)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._checked(path, digest))
        return self._last[1]

    def _checked(self, path: Path, digest: str) -> T:
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read ({error.strerror})") from error
        if found != digest:
            raise UnreadableError(f"{path} is not the file of the run: it has changed since")
        try:
            return self._read(path)
        except Exception as error:  # onnxruntime's errors have no common class
            raise UnreadableError(f"{path} cannot be opened ({' '.join(str(error).split())[:200]})") from error
