"""Imports point down and never in a circle; rooms are small; only the kernels know numba."""
import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"tinyq": ROOT / "tinyq", "tinyq.models": ROOT / "models", "tinyq.data": ROOT / "data"}
MAX_MODULES = 14                                # of a folder, without __init__.py

# Floors from the ground up. A module imports only from lower floors or from its own unit; the longest matching prefix
# is its unit, so that a wing of a package may stand on another floor than the package itself.
FLOORS = [
    "tinyq.output",
    "tinyq tinyq.errors tinyq.portable",
    "tinyq.levels tinyq.streams tinyq.inputs tinyq.files tinyq.kernels.contract",
    "tinyq.kernels.jit",
    "tinyq.kernels.simd",
    "tinyq.kernels.geometry",
    "tinyq.kernels.elementwise tinyq.kernels.pooling tinyq.kernels.gemm tinyq.kernels.integer",
    "tinyq.kernels.reduction tinyq.kernels.search",
    "tinyq.kernels.reference",
    "tinyq.kernels tinyq.command_line",
    "tinyq.autodiff",
    "tinyq.nn tinyq.optim tinyq.checks",
    "tinyq.inference tinyq.schedules tinyq.functional tinyq.own_code tinyq.tasks",
    "tinyq.models tinyq.data tinyq.methods tinyq.packed",
    "tinyq.run.settings",
    "tinyq.saved",
    "tinyq.run",
    "tinyq.audit",
    "tinyq.compare",
    "tinyq.tuning",
    "tinyq.runtime",
    "tinyq.train tinyq.evaluate tinyq.summary tinyq.convert tinyq.pack tinyq.infer tinyq.doctor tinyq.__main__",
]
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units.split()}
FLAT = {"tinyq.autodiff", "tinyq.nn", "tinyq.files", "tinyq.inference", "tinyq.models"}      # packages of one room


def modules():
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts])
            yield name.removesuffix(".__init__"), path


MODULES = dict(modules())
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def unit_of(name):
    return max((u for u in FLOOR if name == u or name.startswith(u + ".")), key=len)


def room_of(name):
    """The wing that a module stands in; modules beside wings, and their package's __init__, are rooms of their own."""
    package = name.rpartition(".")[0]
    for flat in FLAT:
        if f"{name}.".startswith(f"{flat}."):
            return flat
    has_wings = any(p.startswith(package + ".") for p in PACKAGES)
    return name if name in PACKAGES or has_wings else package


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path):
    """The modules of tinyq that a file imports: of `from package import module` the module, not the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & set(MODULES)
            if names - set(MODULES) and node.module in MODULES:
                yield node.module


@pytest.mark.parametrize("name, path", list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_point_down(name, path):
    unit = unit_of(name)
    for imported in imports_of(path):
        assert not imported.startswith(("models", "data.")), f"{name} imports {imported}: say tinyq.{imported}"
    for imported in imported_modules(path):
        other = unit_of(imported)
        allowed = FLOOR[other] < FLOOR[unit] or other == unit or FLOOR[other] == FLOOR[unit] == 0
        assert allowed, f"{name} (floor {FLOOR[unit]}) imports {imported} (floor {FLOOR[other]})"


def circle(arrows):
    """A circle of rooms that import each other, or None."""
    done = set()

    def visit(room, way):
        if room in way:
            return [*way[way.index(room):], room]
        if room in done:
            return None
        found = next((c for c in (visit(other, [*way, room]) for other in sorted(arrows.get(room, ()))) if c), None)
        done.add(room)
        return found

    return next((c for c in (visit(room, []) for room in sorted(arrows)) if c), None)


def test_no_rooms_import_each_other():
    arrows = {}
    for name, path in MODULES.items():
        room = room_of(name)
        arrows.setdefault(room, set()).update(room_of(i) for i in imported_modules(path))
        arrows[room].discard(room)
    assert circle(arrows) is None


def test_the_search_for_circles_finds_one():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None


def sources():
    yield from MODULES.values()
    yield from (path for path in (ROOT / "bench").rglob("*.py"))


def test_no_room_is_crowded():
    counts = Counter(path.parent for path in sources() if path.name != "__init__.py")
    assert {str(folder): n for folder, n in counts.items() if n > MAX_MODULES} == {}


def test_a_file_name_says_which_file():
    """But for a kernel and its reference, which share theirs."""
    kernels = ROOT / "tinyq" / "kernels"
    wanted = {path for path in (kernels / "reference").rglob("*.py")}
    assert all((kernels / path.relative_to(kernels / "reference")).is_file() for path in wanted)
    counts = Counter(path.name for path in sources() if path not in wanted)
    assert {name for name, n in counts.items() if n > 1} <= {"__init__.py", "__main__.py"}


def test_only_the_kernels_import_numba():
    for name, path in modules():
        if not name.startswith("tinyq.kernels"):
            assert not any(i.split(".")[0] in ("numba", "llvmlite") for i in imports_of(path)), name


def test_every_package_is_shipped():
    import tomllib

    shipped = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert shipped == PACKAGES


def test_every_wing_says_what_it_is_for():
    for name in PACKAGES:
        assert ast.get_docstring(ast.parse(MODULES[name].read_text())), f"{name} has no docstring"
