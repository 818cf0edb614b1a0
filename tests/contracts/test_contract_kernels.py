"""What every kernel has in common: a reference with the same signature, and no forbidden arithmetic on the way."""
import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from tinyq import kernels
from tinyq.errors import TinyqError

ROOT = Path(__file__).resolve().parent.parent.parent
KERNELS = [(family, name) for family, names in kernels.FAMILIES.items() for name in names]

# Not correctly rounded, or of no fixed order: they would make the bits depend on the machine.
FORBIDDEN = {
    "dot", "matmul", "einsum", "tensordot", "inner", "vdot", "sum", "mean", "average", "std", "var", "exp", "exp2",
    "expm1", "log", "log1p", "log2", "log10", "tanh", "sin", "cos", "power", "float_power", "cbrt", "argpartition",
    "partition",
}
# As methods of an array. (.sum() and .mean() of a Tensor are our own, so those two are looked for with np. only.)
METHODS = {"dot", "std", "var"}
UFUNC_METHODS = {f"np.{ufunc}.{method}" for ufunc in ("add", "multiply") for method in ("reduce", "accumulate")}
TRAINING_PATH = ["tinyq/kernels", "tinyq/autodiff", "tinyq/nn", "tinyq/tasks", "tinyq/methods", "tinyq/optim.py",
                 "tinyq/schedules.py", "tinyq/streams.py", "tinyq/levels.py", "models"]
# The checker compares gradients in float64 and trains nothing; float64 references of functions may use NumPy's; sums of
# whole numbers that are all exact are the same in any order.
EXEMPT = ["tinyq/kernels/reference/elementwise/functions.py",
          "tinyq/kernels/reference/integer/integer_product.py"]


def parameters(function):
    """(name, kind, default) of each parameter; the types may differ: a reference keeps weights as they are."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("family, name", KERNELS, ids=[name for _, name in KERNELS])
def test_every_kernel_has_a_reference_of_the_same_signature(family, name):
    kernel = getattr(import_module(f"tinyq.kernels.{family}"), name)
    reference = getattr(import_module(f"tinyq.kernels.reference.{family}"), name)
    assert parameters(kernel) == parameters(reference)


def test_the_stub_names_the_home_of_every_kernel():
    """So that editors and type checkers follow kernels.conv2d to its definition."""
    stub = ast.parse((ROOT / "tinyq/kernels/__init__.pyi").read_text())
    homes = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom)
             and (node.module or "").startswith("tinyq.") for alias in node.names}
    assert {name: f"tinyq.kernels.{family}" for family, name in KERNELS}.items() <= homes.items()
    defined = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    offered = next(ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign))
    assert homes.keys() | defined == set(offered) == set(kernels.__all__)


def compiled_functions(module):
    """The public functions of a module that numba compiles, or that call such functions."""
    return {name for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
            and (inspect.isfunction(value) or hasattr(value, "py_func"))}


def test_every_operation_on_codes_has_a_reference_of_the_same_signature():
    compiled, reference = (import_module(f"tinyq.kernels{place}.integer.code_ops") for place in ("", ".reference"))
    names = compiled_functions(compiled) - {"threads"}
    assert names == compiled_functions(reference)
    for name in names:
        kernel = getattr(compiled, name)
        assert inspect.signature(getattr(kernel, "py_func", kernel)) == inspect.signature(getattr(reference, name))


def test_the_integer_product_has_a_reference():
    """Of other arguments, as the kernel takes addresses; tests/packed/integer compares the two."""
    compiled, reference = (import_module(f"tinyq.kernels{place}.integer.integer_product")
                           for place in ("", ".reference"))
    assert compiled_functions(compiled) == {"product"} <= compiled_functions(reference)


def training_sources():
    exempt = {ROOT / e for e in EXEMPT}
    for place in map(ROOT.joinpath, TRAINING_PATH):
        yield from (p for p in ([place] if place.is_file() else sorted(place.rglob("*.py"))) if p not in exempt)


def forbidden_calls(source):
    """"line: what" for every forbidden function, of NumPy, an array or the math module, and for every @."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="np" | "numpy" | "math" as module), attr=name) if name in FORBIDDEN:
                yield f"{node.lineno}: {module}.{name}"
            case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="linalg" | "fft"):
                yield f"{node.lineno}: np.{node.attr}"
            case ast.Attribute() if ast.unparse(node) in UFUNC_METHODS:
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in METHODS and not is_module(value):
                yield f"{node.lineno}: .{name}()"
            case ast.ImportFrom(module="numpy" | "math", names=names):
                yield from (f"{node.lineno}: import {n.name}" for n in names if n.name in FORBIDDEN)
            case ast.BinOp(op=ast.MatMult()):
                yield f"{node.lineno}: @"


def is_module(node):
    return isinstance(node, ast.Name) and node.id in ("kernels", "np", "numpy", "reduce", "elementwise")


@pytest.mark.parametrize("path", list(training_sources()), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_forbidden_arithmetic_on_the_training_path(path):
    assert list(forbidden_calls(path.read_text())) == []


@pytest.mark.parametrize("code", [
    "np.exp(x)", "numpy.dot(a, b)", "math.log(2.0)", "a @ b", "np.linalg.norm(x)", "np.add.reduce(x)", "x.dot(y)",
    "x.std()", "from numpy import einsum", "from math import exp, sqrt", "y = x.reshape(3)\nz = np.sum(y)"])
def test_the_lint_sees_what_it_forbids(code):
    assert len(list(forbidden_calls(code))) == 1


@pytest.mark.parametrize("code", [
    "kernels.sum(x, (0,))", "np.sqrt(x) * 2", "x.reshape(3)", "math.sqrt(2)", "portable.cos(x)"])
def test_the_lint_lets_the_rest_pass(code):
    assert list(forbidden_calls(code)) == []


def test_subnormals_are_kept():
    kernels.verify_arithmetic()


def test_flushed_subnormals_are_noticed(monkeypatch):
    from tinyq.kernels import arithmetic

    monkeypatch.setattr(arithmetic, "_halve", lambda x, out: None)          # what a flushing thread leaves: zeros
    with pytest.raises(TinyqError, match="flushes subnormal"):
        kernels.verify_arithmetic()


def test_kernels_have_no_synchronisation_of_their_own():
    """Threads meet where a parallel loop begins and ends, so that nothing relies on a processor's order of memory."""
    own = re.compile(r"atomic|cmpxchg|\bfence\b|volatile|seq_cst|import threading|Barrier|Semaphore")
    outside = {path for path in (ROOT / "tinyq/kernels").rglob("*.py") if "jit" not in path.parts}
    assert [str(path) for path in outside if own.search(path.read_text())] == []
