"""Read and download datasets: fixed splits, verified files, batches made from 8-bit pixels in the background."""
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyq.data.bundle import DataBundle
    from tinyq.data.datasets import Dataset, ImageArray, ImageFiles, Numbers, Table
    from tinyq.data.draws import Draws
    from tinyq.data.loader import Batch, Loader
    from tinyq.data.named_data import component_of
    from tinyq.data.preparations import PREPARATION_OPTIONS, class_names_of, preparation_of
    from tinyq.data.readers import PATH_OPTIONS, READERS, load, options_of

# module of the package -> its names that are public here, imported when they are first used: a picture needs no reader
_FROM = {"bundle": ("DataBundle",), "datasets": ("Dataset", "ImageArray", "ImageFiles", "Numbers", "Table"),
         "draws": ("Draws",), "loader": ("Batch", "Loader"), "named_data": ("component_of",),
         "preparations": ("PREPARATION_OPTIONS", "class_names_of", "preparation_of"),
         "readers": ("PATH_OPTIONS", "READERS", "load", "options_of")}

__all__ = ["PATH_OPTIONS", "PREPARATION_OPTIONS", "READERS", "Batch", "DataBundle", "Dataset", "Draws", "ImageArray",
           "ImageFiles", "Loader", "Numbers", "Table", "class_names_of", "component_of", "load", "options_of",
           "preparation_of"]


def __getattr__(name):
    """Import a public name when it is first used."""
    home = next((module for module, names in _FROM.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'tinyq.data' has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(f"tinyq.data.{home}"), name)
    return globals()[name]


def __dir__():
    """List the names of the package, imported or not."""
    return sorted({*globals(), *__all__})
