"""Public functions and methods say the types of their parameters and of what they return."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Folders in which some public functions are not annotated yet. Of the kernels, those that the stub names are checked.
UNFINISHED = ("tinyq/kernels",)
STUB = ROOT / "tinyq" / "kernels" / "__init__.pyi"
SPECIAL = ("__init__", "__call__")                  # of the special methods, those with a signature of our own


def sources():
    for folder in ("tinyq", "models", "data"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(UNFINISHED):
                yield name, path


def is_public(name):
    return not name.startswith("_") or name in SPECIAL


def is_compiled(function):
    """True for a function that numba compiles, whose types it infers."""
    named = (ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list)
    return not {"njit", "part", "intrinsic", "emits"}.isdisjoint(named)


def public_functions(body, owner=None):
    """(dotted name, its node, whether its first parameter is self or cls), nested functions left out."""
    for node in body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from public_functions(node.body, node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_public(node.name):
            static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
            yield f"{owner}.{node.name}" if owner else node.name, node, owner is not None and not static


def lacking(text):
    """{dotted name: the parameters without an annotation, and "return"} of the public functions of a source text."""
    found = {}
    for name, node, bound in public_functions(ast.parse(text).body):
        arguments = node.args
        named = (arguments.posonlyargs + arguments.args)[bound:] + arguments.kwonlyargs
        named += [star for star in (arguments.vararg, arguments.kwarg) if star]
        bare = [argument.arg for argument in named if argument.annotation is None]
        if node.returns is None and node.name != "__init__":
            bare.append("return")
        if bare and not is_compiled(node):
            found[name] = bare
    return found


def described(where, found):
    return [f"{where}: {name} lacks {', '.join(bare)}" for name, bare in found.items()]


def test_every_public_function_is_annotated():
    offenders = [line for name, path in sources() for line in described(name, lacking(path.read_text()))]
    assert not offenders, "annotate these:\n" + "\n".join(offenders)


def test_every_kernel_that_the_stub_names_is_annotated():
    offenders = []
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinyq."):
            found = lacking((ROOT / f"{node.module.replace('.', '/')}.py").read_text())
            names = {alias.name for alias in node.names}
            offenders += described(node.module, {name: bare for name, bare in found.items() if name in names})
    assert not offenders, "annotate these:\n" + "\n".join(offenders)


def test_the_search_covers_the_folders_it_is_for():
    read = {name.rpartition("/")[0] for name, _ in sources()}
    assert read >= {"tinyq", "tinyq/autodiff", "tinyq/nn", "tinyq/methods", "tinyq/methods/cbp", "tinyq/packed/integer",
                    "tinyq/inference", "tinyq/files", "tinyq/saved", "tinyq/audit", "tinyq/audit/step",
                    "models", "data", "data/sources"}


@pytest.mark.parametrize("text, found", [
    ("def f(x): ...", {"f": ["x", "return"]}),
    ("def f(x: int): ...", {"f": ["return"]}),
    ("def f(x) -> int: ...", {"f": ["x"]}),
    ("def f(x: int, *rest, y, **options) -> int: ...", {"f": ["y", "rest", "options"]}),
    ("async def f(x, /) -> int: ...", {"f": ["x"]}),
    ("class C:\n    def f(self, x): ...", {"C.f": ["x", "return"]}),
    ("class C:\n    def __init__(self, x): ...", {"C.__init__": ["x"]}),
    ("class C:\n    def __call__(self): ...", {"C.__call__": ["return"]}),
    ("class C:\n    @staticmethod\n    def f(x) -> int: ...", {"C.f": ["x"]}),
    ("class C:\n    @classmethod\n    def f(cls, x) -> int: ...", {"C.f": ["x"]}),
    ("class C:\n    class D:\n        def f(self): ...", {"D.f": ["return"]}),
    ("@property\ndef f(): ...", {"f": ["return"]}),
])
def test_the_search_finds_a_missing_annotation(text, found):
    assert lacking(text) == found


@pytest.mark.parametrize("text", [
    "def f(x: int, *rest: int, y: int = 1, **options: int) -> int: ...",
    "def _f(x): ...",
    "class _C:\n    def f(self, x): ...",
    "class C:\n    def __init__(self, x: int): ...\n    def __repr__(self): ...\n    def _f(self, x): ...",
    "def f() -> int:\n    def g(x): ...",
    "@njit\ndef f(x): ...",
    "@njit(parallel=True)\ndef f(x): ...",
])
def test_the_search_leaves_alone_what_needs_no_annotation(text):
    assert lacking(text) == {}
