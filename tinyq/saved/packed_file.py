"""Recognise and read a packed network, and check what it says of itself."""
from pathlib import Path

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.packed.file import format
from tinyq.packed.file.format import Packed
from tinyq.saved.attributes import check_without_data, shape_of


def is_packed(path: str | Path) -> bool:
    """Tell if a file is a packed network by its content; BadInput where it cannot be read as HDF5."""
    with hdf5.Reader(path) as file:
        return file.attributes().get("format") == format.FORMAT


def read_packed(path: str | Path) -> Packed:
    """Read a packed network; BadInput where it is damaged, or is not for the inputs and classes that it names."""
    packed = format.read(path)
    check_without_data(path, packed.meta)
    graph = packed.graph
    if shape_of(packed.meta) != graph.input_shape or (len(packed.meta["class_names"]),) != graph.nodes[-1].shape:
        raise BadInput(f"{path}: its network does not fit the input shape and the classes that the file names")
    return packed
