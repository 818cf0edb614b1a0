"""What every kernel has in common: a twin with the same signature, and no forbidden arithmetic on the way."""
import ast
import inspect
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
TRAINING_PATH = ["tinyq/kernels", "tinyq/autodiff", "tinyq/nn", "tinyq/methods", "tinyq/optim.py", "tinyq/schedules.py",
                 "tinyq/streams.py", "tinyq/levels.py", "models"]
# The checker compares gradients in float64 and trains nothing; float64 twins of functions may use NumPy's.
EXEMPT = ["tinyq/autodiff/check.py", "tinyq/kernels/reference/functions.py"]


@pytest.mark.parametrize("family, name", KERNELS, ids=[name for _, name in KERNELS])
def test_every_kernel_has_a_twin_of_the_same_signature(family, name):
    fast = getattr(import_module(f"tinyq.kernels.{family}"), name)
    plain = getattr(import_module(f"tinyq.kernels.reference.{family}"), name)
    assert inspect.signature(fast) == inspect.signature(plain)


def training_sources():
    exempt = {ROOT / e for e in EXEMPT}
    for place in map(ROOT.joinpath, TRAINING_PATH):
        yield from (p for p in ([place] if place.is_file() else sorted(place.rglob("*.py"))) if p not in exempt)


def forbidden_calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("np", "numpy", "math") and node.attr in FORBIDDEN:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.value.id}.{node.attr}"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield f"{path.relative_to(ROOT)}:{node.lineno} @"


@pytest.mark.parametrize("path", list(training_sources()), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_forbidden_arithmetic_on_the_training_path(path):
    assert list(forbidden_calls(path)) == []


def test_the_lint_sees_what_it_forbids(tmp_path):
    source = ROOT / "tests" / "contracts" / "test_contract_kernels.py"
    assert not list(forbidden_calls(source))
    sample = ast.parse("np.exp(x); a @ b; np.dot(a, b); x.reshape(3)")
    found = [n for n in ast.walk(sample) if isinstance(n, ast.Attribute) and n.attr in FORBIDDEN]
    assert len(found) == 2


def test_subnormals_are_kept():
    kernels.verify_arithmetic()


def test_flushed_subnormals_are_noticed(monkeypatch):
    from tinyq.kernels import arithmetic

    monkeypatch.setattr(arithmetic, "_halve", lambda x, out: None)          # what a flushing thread leaves: zeros
    with pytest.raises(TinyqError, match="flushes subnormal"):
        kernels.verify_arithmetic()
