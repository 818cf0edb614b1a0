"""Find imports of modules that lie beside a user's file: a run keeps a copy of one file alone, which could not run."""
import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from tinyq.errors import UsageError


def check_imports(source: str | bytes, path: str) -> None:
    """Raise UsageError, with the line, where the Python file at `path` imports a module beside it.

    source: the file's contents. A file with a syntax error passes; running it says what is wrong.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for line, name in _imports(tree):
        if name.startswith(".") or name != "tinyq" and _lies_beside(name, Path(path).resolve().parent):
            own = name.lstrip(".") or "another module"
            raise UsageError(f"{path}:{line} imports {own}, which lies beside it, but a run keeps a copy of one file "
                             f"alone; put the code of {own} into {Path(path).name}, or install {own} as a package")


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, first part of the name) of each import; relative ones begin with their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = (node.module or "").partition(".")[0]
            yield node.lineno, "." * node.level + (name or (node.names[0].name if node.level else ""))


def _lies_beside(name: str, folder: Path) -> bool:
    """Return True if Python finds the module in this folder or the working one, or nowhere but in this folder."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()
    home = Path(spec.origin).resolve().parent if spec.origin and spec.has_location else None
    if home is not None and spec.submodule_search_locations:            # a package: the folder that contains it
        home = home.parent
    return home in (folder, Path.cwd())
