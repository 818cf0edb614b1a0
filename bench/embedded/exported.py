"""Export a packed network as C, with samples and the integers that it must compute."""
from pathlib import Path

import numpy as np
from embedded.instructions import Network

from tinyq.packed.c.entry import expected_codes, find_entry
from tinyq.packed.c.export import COMPILED, export
from tinyq.packed.file.format import Packed
from tinyq.packed.integer.lowering import lower


def exported(packed: Packed, kind: str, samples: np.ndarray, folder: Path, name: str = "net") -> Network:
    """Export with int8 or int16 activations into a folder; samples: float32 (n, ...)."""
    program = lower(packed, kind)
    export(program, packed, folder, name, samples[:1])
    codes, results = expected_codes(program, packed, find_entry(program, packed), samples)
    sources = [folder / file for file in (f"{name}.c", *COMPILED)]
    return Network(f"{name}_run", sources, ("-std=c99", f"-I{folder}"), codes, results, results.shape[1])
