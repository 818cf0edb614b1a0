"""Check an ONNX file with the package onnx, and run it with ONNX Runtime where that is installed."""
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinyq.errors import BadInput, UsageError

QUIET = 4                               # ONNX Runtime's level of messages: only what ends the process


def installed(name: str) -> bool:
    """Return whether a package is installed."""
    return importlib.util.find_spec(name) is not None


def check(data: bytes, opset: int) -> str:
    """Check the bytes of a file with onnx.checker; return the package's version.

    UsageError where the package is too old for the operator set. A missing package is reported as such.
    """
    import onnx

    known = onnx.defs.onnx_opset_version()
    if opset > known:
        raise UsageError(f"weights: onnx {onnx.__version__} knows operator sets up to {known}, not {opset}; pip "
                         "install -U onnx, or take wider weights")
    onnx.checker.check_model(data, full_check=True)
    return onnx.__version__


def runtime_version() -> str | None:
    """Return the version of ONNX Runtime; None where it is not installed."""
    if not installed("onnxruntime"):
        return None
    import onnxruntime

    return onnxruntime.__version__


class Session:
    """A network in ONNX Runtime, on the CPU with its default optimisations."""

    def __init__(self, data: bytes) -> None:
        """Load the bytes of a file; BadInput where ONNX Runtime cannot."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        try:
            self._session: Any = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:                              # of classes of its own
            raise BadInput(f"ONNX Runtime {onnxruntime.__version__} cannot load the network: {_line(error)}") from error
        first = self._session.get_inputs()[0]
        self._input = first.name
        sizes = first.shape or [None]
        self.batch = sizes[0] if isinstance(sizes[0], int) else 1   # samples that the file takes at once, if it says so

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the first output for a batch (n, ...) float32."""
        name = self._session.get_outputs()[0].name
        return self.outputs(x, [name])[name]

    def outputs(self, x: np.ndarray, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Return {name: array} of outputs for a batch; BadInput where ONNX Runtime fails."""
        try:
            return dict(zip(names, self._session.run(list(names), {self._input: x}), strict=True))
        except Exception as error:
            raise BadInput(f"ONNX Runtime cannot run the network: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
