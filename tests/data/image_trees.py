"""Image trees for the tests of data: the same contents as a folder and as a zip."""
import zipfile

import pytest


def in_folder(root, contents):
    """Write {path: bytes} below a folder; return it."""
    for name, held in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(held)
    return root


def in_zip(root, contents):
    """Write {path: bytes} into a zip; return it."""
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for name, held in contents.items():
            archive.writestr(name, held)
    return root / "images.zip"


EITHER = pytest.mark.parametrize("stored", [in_folder, in_zip])
