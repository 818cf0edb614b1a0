"""Imports point down: a module imports only lower layers or its own package, and only the kernels know numba."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"tinyq": ROOT / "tinyq", "tinyq.models": ROOT / "models", "tinyq.data": ROOT / "data"}

# package or module -> layer; the longest matching prefix counts
LAYERS = {
    "tinyq": 0, "tinyq.errors": 0, "tinyq.levels": 0, "tinyq.streams": 0, "tinyq.portable": 0,
    "tinyq.kernels": 0, "tinyq.files": 0,
    "tinyq.autodiff": 1,
    "tinyq.nn": 2, "tinyq.inference": 2, "tinyq.optim": 2, "tinyq.schedules": 2,
    "tinyq.models": 3, "tinyq.data": 3, "tinyq.methods": 3, "tinyq.packed": 3,
    "tinyq.run": 4,
    "tinyq.audit": 5,
    "tinyq.train": 6, "tinyq.evaluate": 6, "tinyq.summary": 6, "tinyq.convert": 6, "tinyq.pack": 6,
    "tinyq.infer": 6, "tinyq.doctor": 6,
    "tinyq.__main__": 6,
}


def modules():
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts])
            yield name.removesuffix(".__init__"), path


def layer_and_unit(name):
    """The layer of a module and the unit it belongs to (own-package imports are free)."""
    unit = max((u for u in LAYERS if name == u or name.startswith(u + ".")), key=len)
    return LAYERS[unit], unit


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name, path", list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_point_down(name, path):
    layer, unit = layer_and_unit(name)
    for imported in imports_of(path):
        if not imported.startswith("tinyq.") or imported == "tinyq":
            assert not imported.startswith(("models", "data.")), f"{name} imports {imported}: say tinyq.{imported}"
            continue
        other, other_unit = layer_and_unit(imported)
        allowed = other < layer or other_unit == unit or layer == other == 0
        assert allowed, f"{name} (layer {layer}) imports {imported} (layer {other})"


def test_only_the_kernels_import_numba():
    for name, path in modules():
        if not name.startswith("tinyq.kernels"):
            assert not any(i.split(".")[0] in ("numba", "llvmlite") for i in imports_of(path)), name


def test_every_package_is_shipped():
    import tomllib

    shipped = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {name for name, path in modules() if path.name == "__init__.py"}
    assert present == shipped
