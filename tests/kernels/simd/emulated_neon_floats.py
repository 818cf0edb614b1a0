"""Run a script as on a processor with NEON alone: python emulated_neon_floats.py SCRIPT ARG...

Its look-ups of bytes are x86's pshufb, which does the same for indices below 16. The kernels are not those that are
kept for this processor: give the script a TINYQ_CACHE of its own.
"""
import runpy
import sys

from tinyq.kernels.jit import target

target.target_features = lambda: frozenset({"neon"})

from tinyq.kernels.simd import byte_look_up  # noqa: E402  after the line above
from tinyq.kernels.simd.llvm import call  # noqa: E402


def look_up(builder, table, indices):
    """As byte_look_up.look_up."""
    return call(builder, "llvm.x86.ssse3.pshuf.b.128", byte_look_up.BYTES, table, indices)


byte_look_up.look_up = look_up

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
