"""Load a packed network, check it against its stored outputs, and run it with the fastest executor available."""
import dataclasses
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.kernels import return_freed_memory
from tinyq.output.terminal import tell, tell_once
from tinyq.packed.file import format
from tinyq.packed.file.format import KINDS, Packed, golden_input
from tinyq.packed.float_network import FloatNetwork

if TYPE_CHECKING:                       # what float32 activations do without is imported where it is used
    from tinyq.nn import Module
    from tinyq.packed.integer.compiled_executor import CompiledExecutor
    from tinyq.packed.integer.numpy_executor import NumpyExecutor


class PackedNetwork:
    """A function from a batch (n, ...) float32, normalised as in training, to the logits (n, classes).

    With activations "float32" the logits have the bits of the trained network's evaluation; with "int8" or "int16" they
    have the same bits on every processor and executor. The samples of a batch do not influence each other. Calls from
    several Python threads run one after another, because they share the buffers.
    """

    def __init__(self, packed: Packed, activations: str = "float32") -> None:
        """Prepare the network. UsageError if it cannot run with these activations; BadInput if its outputs differ.

        The outputs are compared with those stored in `packed`.
        """
        if activations not in KINDS:
            raise UsageError(f"activations {activations}: {did_you_mean(activations, KINDS)}")
        from tinyq.kernels.jit import isa  # UsageError for an unknown TINYQ_ISA

        self.graph, self.meta, self.activations = packed.graph, packed.meta, activations
        self._lock = threading.Lock()
        program = None if activations == "float32" else _lowered(packed, activations)
        self._floats = FloatNetwork(packed, program.floats if program else None)
        self.executor = "float32"
        self._run: FloatNetwork | NumpyExecutor | CompiledExecutor = self._floats
        if program:
            self.executor, self._run = _integer_executor(isa, program, self._floats.node)
        if not self._gives(packed.golden) and not self._gives_without_kernels(program, packed.golden):
            raise BadInput("the network's outputs differ from those stored in the file; another version of tinyq wrote "
                           "it; pack the trained network again")

    @classmethod
    def load(cls, path: str | Path, activations: str = "float32") -> "PackedNetwork":
        """Load a packed file; BadInput if it is damaged or its network does not compute the stored outputs."""
        packed = format.read(path)
        try:
            network = cls(packed, activations)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error
        del packed
        return_freed_memory()
        return network

    @classmethod
    def from_model(cls, model: "Module", input_shape: tuple[int, ...], activations: str = "float32",
                   calibration: Sequence[np.ndarray] = ()) -> "PackedNetwork":
        """Pack a network as it computes in evaluation mode; input_shape: of one sample.

        calibration: batches on which the ranges of int8 and int16 activations are measured. UsageError where a packed
        file cannot hold the network.
        """
        from tinyq.packed.file.encode_model import pack

        packed = pack(model, input_shape, {})
        return cls(calibrated(packed, calibration) if len(calibration) else with_golden(packed), activations)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits of a batch."""
        x = np.asarray(x, np.float32)
        if x.shape[1:] != self.graph.input_shape:
            raise UsageError(f"the samples have shape {x.shape[1:]}, but the network takes {self.graph.input_shape}")
        if not len(x):
            return np.empty((0, *self.graph.nodes[-1].shape), np.float32)
        with self._lock, np.errstate(all="ignore"):         # a file may divide by zero
            return self._run(x)

    @property
    def resident_bytes(self) -> int:
        """Bytes of all weights, affines and constants kept between calls."""
        return self._floats.resident_bytes + (0 if self._run is self._floats else self._run.resident_bytes)

    @property
    def float_bytes(self) -> int:
        """Bytes that the weights of the products would take as float32."""
        return 4 * sum(math.prod(node.product_weight.shape) for node in self.graph.products())

    def _gives_without_kernels(self, program, golden):
        """Switch from the compiled kernels to NumPy; return True if NumPy gives the stored outputs."""
        if self.executor in ("float32", "numpy"):
            return False
        from tinyq.packed.integer.numpy_executor import NumpyExecutor

        kernels, self.executor, self._run = self.executor, "numpy", NumpyExecutor(program, self._floats.node)
        right = self._gives(golden)
        if right:
            tell(f"tinyq: the {kernels} kernels compute wrong sums on this machine; NumPy is used, which is slower")
        return right

    def _gives(self, golden):
        """Return True if the outputs equal the stored ones, or none are stored."""
        expected = golden.get(self.activations)
        return expected is None or np.array_equal(self(golden_input(self.graph)), expected, equal_nan=True)


def calibrated(packed: Packed, batches: Sequence[np.ndarray]) -> Packed:
    """Return the network with activation ranges measured on these batches, and with new golden outputs."""
    from tinyq.packed.integer import calibrate

    return with_golden(dataclasses.replace(packed, ranges=calibrate.ranges(packed, batches), golden={}))


def with_golden(packed: Packed) -> Packed:
    """Return the network with its outputs for golden_input, which every reader must reproduce."""
    from tinyq.packed.integer.numpy_executor import NumpyExecutor

    x, floats = golden_input(packed.graph), FloatNetwork(packed)
    with np.errstate(all="ignore"):
        golden = {"float32": floats(x)}
    for kind in KINDS[1:] if packed.ranges is not None else ():
        try:
            golden[kind] = NumpyExecutor(_lowered(packed, kind), floats.node)(x)
        except UsageError:                              # it cannot run in this form; PackedNetwork reports that
            continue
    return dataclasses.replace(packed, golden=golden)


def _lowered(packed, kind):
    from tinyq.packed.integer.lowering import lower

    return lower(packed, kind)


def _integer_executor(isa, program, evaluate_node):
    """Return (name, executor) for the fastest executor that this machine can run."""
    if isa.NOTE:
        tell_once(f"tinyq: {isa.NOTE}")
    if isa.ISA is None:
        from tinyq.packed.integer.numpy_executor import NumpyExecutor

        return isa.NUMPY, NumpyExecutor(program, evaluate_node)
    from tinyq.packed.integer.compiled_executor import CompiledExecutor

    return isa.ISA.name, CompiledExecutor(program, evaluate_node)
