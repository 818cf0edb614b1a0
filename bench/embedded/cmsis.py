"""Build a network with CMSIS-NN from a checkout of github.com/ARM-software/CMSIS-NN, on the weights of tinyq's."""
from dataclasses import replace
from pathlib import Path

import numpy as np
from embedded.cmsis_code import CmsisCode
from embedded.cmsis_numbers import SIGN, meaning_of_range
from embedded.emulated_cores import HOST, Target
from embedded.instructions import Library, Network, outputs_of

from tinyq.packed.file.format import Packed
from tinyq.packed.integer.lowering import lower

FLOATS = ("_f16", "_f32", "_flt")       # files without integers
FOLDERS = ("BasicMathFunctions", "ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions",
           "PoolingFunctions")


def cmsis(packed: Packed, ours: Network, checkout: Path, folder: Path, library: Path) -> Network:
    """Write the network in CMSIS-NN's calls, run it on this machine, and return it with the outputs found there.

    ours: tinyq's C of the same network. library: folder for CMSIS-NN's object files.
    """
    program = lower(packed, "int8")
    folder.mkdir(parents=True, exist_ok=True)
    values = ours.expected * program.quants[program.end].scale
    (folder / "cmsis_net.c").write_text(CmsisCode(program, packed, meaning_of_range(values)).text())
    shape = packed.graph.input_shape
    codes = (ours.samples.astype(np.int16) - SIGN).astype(np.int8).reshape(-1, *shape)
    samples = codes.transpose(0, 2, 3, 1).reshape(len(codes), -1) if len(shape) == 3 else codes
    flags = ("-std=gnu11", f"-I{checkout / 'Include'}")
    network = Network("cmsis_run", [folder / "cmsis_net.c"], flags, samples, None, ours.outputs,
                      Library(tuple(sources(checkout)), flags, library))
    here = folder / "here"
    outputs = outputs_of(HOST, with_scratch(HOST, network, here, "-O2"), here, "-O2")
    return replace(network, expected=outputs)


def with_scratch(target: Target, network: Network, folder: Path, *flags: str) -> Network:
    """Return the network with as much scratch memory as CMSIS-NN says that it needs on this target."""
    asked = replace(network, function="cmsis_scratch", expected=None, samples=network.samples[:1], outputs=1)
    scratch = int(outputs_of(target, asked, folder / "scratch", *flags)[0, 0])
    return replace(network, flags=(*network.flags, f"-DSCRATCH={-(-scratch // 4) * 4}"))


def sources(checkout: Path) -> list[Path]:
    """Return CMSIS-NN's C files on integers."""
    return [file for folder in FOLDERS for file in sorted((checkout / "Source" / folder).glob("*.c"))
            if not any(part in file.stem for part in FLOATS)]
