"""tinyq: train, audit and run networks whose weights are constrained to a few values."""
import importlib
import os

# OpenBLAS starts its threads when NumPy is first imported, and they spin for 2^26 cycles: half of the CPU time of
# that import. tinyq computes without BLAS; 2^18 cycles, 0.1 ms, serve whoever does not.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")

__version__ = "0.1.0"

# module of the package -> its names that are public here
_FROM = {"autodiff": ("Tensor", "detach", "no_record", "primitive"), "checks": ("check_gradients", "check_vjp"),
         "levels": ("LevelSet",), "saved.layer_table": ("summary_of",),
         "saved.model_file": ("load_module", "save_module"), "nn": ("Module", "Parameter"),
         "streams": ("Stream", "Streams")}
_MODULES = ("autodiff", "data", "errors", "functional", "kernels", "levels", "methods", "models", "nn", "optim",
            "schedules", "streams")

__all__ = sorted([*_MODULES, *(name for names in _FROM.values() for name in names)])


def __getattr__(name):
    """Import a public name, and NumPy and numba with it, when it is first used."""
    home = name if name in _MODULES else next((module for module, names in _FROM.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'tinyq' has no attribute {name!r}")
    module = importlib.import_module(f"tinyq.{home}")
    globals()[name] = module if home == name else getattr(module, name)
    return globals()[name]


def __dir__():
    """List the names of the package, imported or not."""
    return sorted({*globals(), *__all__})
