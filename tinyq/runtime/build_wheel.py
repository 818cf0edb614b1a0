"""Build the wheel of the runtime alone (PEP 517), which runs packed networks on NumPy: no numba, no tqdm, no h5py.

It is tinyq-numpy too, with the local version +infer: an environment has one of the two, and pip replaces one by the
other. The wheel holds what the modules of ROOTS import at their top, and so on; what they import only when a flag needs
it stays out, and errors.py says then what to do. Building needs nothing but Python.
"""
import ast
import base64
import hashlib
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
FOLDERS = {"tinyq.models": TREE / "models", "tinyq.data": TREE / "data", "tinyq": TREE / "tinyq"}
ROOTS = (
    "tinyq.__main__", "tinyq.infer", "tinyq.packed.network", "tinyq.packed.latency", "tinyq.output.text_table",
    "tinyq.packed.integer.calibrate",
    "tinyq.packed.integer.lowering", "tinyq.packed.integer.numpy_executor", "tinyq.saved.image_input",
    "tinyq.saved.packed_file", "tinyq.saved.row_input", "tinyq.data.images.decode", "tinyq.data.views",
    "tinyq.data.local.pictures", "tinyq.data.local.table_names", "tinyq.tasks.task", "tinyq.autodiff",
    "tinyq.kernels.jit.isa")
NEEDED = ("numpy", "pillow")                            # of the dependencies in pyproject.toml
DATE = (1980, 1, 1, 0, 0, 0)                            # equal sources give equal bytes


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """Write the wheel into a folder; return its name."""
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}+infer"
    files = {path: source.read_bytes() for path, source in sources().items()}
    files |= {f"{stem}.dist-info/{name}": content for name, content in _metadata(project).items()}
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    with zipfile.ZipFile(Path(wheel_directory) / f"{stem}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, DATE)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    return f"{stem}-py3-none-any.whl"


def sources() -> dict[str, Path]:
    """Return {path in the wheel: file of the tree}; a command that is not held is elsewhere.py, which says so."""
    held = modules()
    found = {_path(name, file): file for name, file in held.items()}
    for module in _commands():
        for name in (module, module.removesuffix(".__main__")):
            if name not in held:
                end = "/__init__.py" if name != module else ".py"
                found[name.replace(".", "/") + end] = HERE / "elsewhere.py"
    return dict(sorted({**found, "tinyq/py.typed": TREE / "tinyq" / "py.typed"}.items()))


def modules() -> dict[str, Path]:
    """Return {name: file} of the modules that the wheel holds; LookupError for one of ROOTS that is not there."""
    if missing := [name for name in ROOTS if _file(name) is None]:
        raise LookupError(f"no module {', '.join(missing)}")
    held: dict[str, Path] = {}
    left = [*ROOTS, *(_name(path) for path in (TREE / "tinyq" / "kernels" / "reference").rglob("*.py"))]
    while left:
        name = left.pop()
        file = _file(name)
        if name not in held and file is not None:
            held[name] = file
            left += [name.rpartition(".")[0], *_imports(ast.parse(file.read_text()).body)]
    return held


def _imports(statements: list[ast.stmt]) -> list[str]:
    """List what statements import when their module is imported; of `from a import b` both a and a.b."""
    names: list[str] = []
    for statement in statements:
        match statement:
            case ast.Import():
                names += [alias.name for alias in statement.names]
            case ast.ImportFrom(module=str(module)):
                names += [module, *(f"{module}.{alias.name}" for alias in statement.names)]
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                names += _imports(statement.orelse)
            case ast.If() | ast.Try() | ast.With():
                names += _imports([*statement.body, *getattr(statement, "orelse", [])])
    return names


def _file(name: str) -> Path | None:
    package = next((p for p in FOLDERS if f"{name}.".startswith(f"{p}.")), None)
    if package is None:
        return None
    path = FOLDERS[package].joinpath(*name.removeprefix(package).split(".")[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(TREE).with_suffix("").parts).removesuffix(".__init__")


def _path(name: str, file: Path) -> str:
    return name.replace(".", "/") + ("/__init__.py" if file.name == "__init__.py" else ".py")


def _commands() -> list[str]:
    """Return the modules of the commands in __main__.py, which is not imported: building needs no NumPy."""
    for statement in ast.parse((TREE / "tinyq" / "__main__.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "COMMANDS":
            return [module for module, _ in ast.literal_eval(statement.value).values()]
    raise LookupError("COMMANDS")


def _metadata(project: dict) -> dict[str, bytes]:
    needed = [r for r in project["dependencies"] if r.startswith(NEEDED)]
    lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {project['version']}+infer",
             "Summary: Run networks packed by tinyq on NumPy alone", f"License-Expression: {project['license']}",
             "License-File: LICENSE", f"Requires-Python: {project['requires-python']}",
             *(f"Requires-Dist: {r}" for r in needed), "Description-Content-Type: text/markdown", "",
             "The runtime alone of tinyq: `python -m tinyq.infer MODEL.tq.h5 IMAGE`. All of tinyq, which also trains,",
             "audits, packs and exports, takes its place: `pip install .` in a checkout.", ""]
    scripts = "".join(f"{name} = {target}\n" for name, target in project["scripts"].items())
    return {"METADATA": "\n".join(lines).encode(), "licenses/LICENSE": (TREE / "LICENSE").read_bytes(),
            "WHEEL": b"Wheel-Version: 1.0\nGenerator: tinyq\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "entry_points.txt": f"[console_scripts]\n{scripts}".encode()}


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
