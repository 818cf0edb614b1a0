"""Importing this pretends that the processor has NEON's instruction set TINYQ_ISA: what isa.py then chooses."""
import os

from tinyq.kernels.jit import isa, target

_needs = next(known.needs for known in isa.ARM if known.name == os.environ["TINYQ_ISA"])
target.target_features = lambda: _needs
isa.ISA, isa.NOTE = isa.choose()
isa.SHAPE = isa.ISA
