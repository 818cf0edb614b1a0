"""Export a packed network as C together with its packed file."""
import hashlib
from pathlib import Path
from typing import Any

from tinyq.data import DataBundle
from tinyq.files import atomic
from tinyq.nn import Module
from tinyq.packed.c import export
from tinyq.packed.c.c_names import PACKED, check_free, name_of, shown
from tinyq.packed.c.c_source import Origin
from tinyq.packed.c.entry import pixel_values
from tinyq.packed.file import format
from tinyq.packed.file.format import Packed
from tinyq.packed.integer.lowering import lower
from tinyq.saved.exporting.measured_export import figures, self_test_samples


def check_target(target: str | Path | None, folder: Path) -> None:
    """Raise what writing the packed file outside the folder of the C files would."""
    if target and _lies_apart(target, folder):
        atomic.check_target(target)


def export_network(model: Module, packed: Packed, bundle: DataBundle, target: str | Path | None, folder: Path,
                   kind: str) -> dict[str, Any]:
    """Write the packed file and the C files for activations of a kind; return a report. First all is computed.

    model: the trained network, which is measured too. target: the packed file, whose name the C files take; None: it
    has the model's name and lies in the folder. UsageError, CannotCreate or InputOutputError as from export.export.
    """
    file = Path(target or folder / f"{name_of(packed.meta['model'])}{PACKED}")
    name, data = name_of(file), format.encode(packed)
    origin = Origin(shown(file), hashlib.sha256(data).hexdigest())
    check_free(folder, name, origin.file)
    files, sizes = export.files_of(lower(packed, kind), packed, name, self_test_samples(bundle), pixel_values(packed),
                                   origin)
    found = figures(model, packed, kind, bundle)
    if _lies_apart(file, folder):
        atomic.write_bytes(file, data)
        export.write(folder, files)
    else:
        export.write(folder, {**files, file.name: data})
    return {"file": str(file), **export.report_of(folder, name, kind, sizes), **found}


def _lies_apart(file, folder):
    return Path(file).parent != folder
