"""Importing this pretends that the processor has AMX: what isa.py then chooses, and what is emitted."""
from tinyq.kernels.jit import target

_features = target.target_features
target.target_features = lambda: _features() | {"amx-tile", "amx-int8"}
target.tiles_refused = lambda: None
