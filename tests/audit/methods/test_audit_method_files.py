"""The audit checks a method from outside: it imports none of them, and reads public state only."""
import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinyq.audit.methods as audits
from tinyq.audit.methods import audit_of, conntra, method_table
from tinyq.audit.methods.method_audit import MethodAudit, no_arrays
from tinyq.errors import UsageError
from tinyq.methods import METHODS

ROOT = Path(audits.__file__).resolve().parents[2]                       # tinyq/
AUDIT_FILES = sorted(Path(audits.__file__).parent.glob("*.py"))
OUTSIDE = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "methods"]
WHOLE_ROOM = [path for path in OUTSIDE if path.relative_to(ROOT).parts[0] in ("audit", "run", "saved")]
NAMES = {name for name in METHODS if name != "backprop"}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_method_that_constrains_has_a_file_of_its_own():
    assert {METHODS[name].__name__ for name in NAMES} == set(method_table.AUDITS) - {"Backprop"}
    assert NAMES <= {path.stem for path in AUDIT_FILES}


@pytest.mark.parametrize("path", AUDIT_FILES, ids=lambda path: path.stem)
def test_no_file_imports_the_method_it_checks(path):
    """Only the table imports anything of tinyq.methods, to know the classes of plug-ins by their names."""
    imported = [name for name in imports_of(path) if f"{name}.".startswith("tinyq.methods.")]
    assert imported == [] or path.stem == "method_table" and imported == ["tinyq.methods.METHODS"], imported


@pytest.mark.parametrize("path", WHOLE_ROOM, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_rest_imports_no_method_by_name(path):
    assert [name for name in imports_of(path) if name.startswith(tuple(f"tinyq.methods.{n}" for n in NAMES))] == []


PUBLIC = {"bool_", "_fields", "_asdict", "_replace"}


def private_reads(tree):
    """Attributes of something other than self or cls whose names begin with one underscore, or end with one.

    NumPy's types and a NamedTuple's own functions are public all the same. argparse has no public way to list flags.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not node.attr.endswith("__") and node.attr not in PUBLIC:
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            of_argparse = owner == "argparse" or node.attr == "_actions"
            if not of_argparse and (
                    node.attr.endswith("_") or node.attr.startswith("_") and owner not in ("self", "cls")):
                yield ast.unparse(node)


@pytest.mark.parametrize("path", WHOLE_ROOM, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_outside_reads_a_private_attribute(path):
    assert list(private_reads(ast.parse(path.read_text()))) == []


def test_the_search_finds_private_reads():
    code = "method.layers_ + method._g + self._own + x.__name__ + method.weights"
    assert list(private_reads(ast.parse(code))) == ["method.layers_", "method._g"]


def test_a_method_without_a_row_is_audited_as_one_that_follows_a_gradient():
    assert audit_of("Unknown") == audit_of("Backprop") == MethodAudit()
    assert no_arrays(None) == no_arrays(None, 8) == {}


def test_a_method_that_does_not_come_with_tinyq_has_the_audit_of_its_class(monkeypatch):
    audit = MethodAudit()
    monkeypatch.setitem(METHODS, "another", type("Another", (METHODS["backprop"],), {"audit": audit}))
    assert audit_of("Another") is method_table.own_audit("Another") is audit and method_table.is_known("Another")
    assert method_table.own_audit("Backprop") is method_table.own_audit("Unknown") is None
    monkeypatch.setitem(METHODS, "other", type("Other", (METHODS["backprop"],), {"audit": 3}))
    with pytest.raises(UsageError, match="method Other: its audit is a int, not a tinyq.audit.methods.MethodAudit"):
        audit_of("Other")


def visits(codes, errors, tried):
    return SimpleNamespace(picks=np.arange(len(codes)), codes=np.array(codes), errors=np.array(errors),
                           tried=np.array(tried))


def test_a_visit_keeps_the_last_of_the_least_errors_and_notes_it():
    tried = [[3, 2, 2], [2, 5, 4]]
    assert list(conntra.choices(visits([2, 0], [2, 2], tried))) == []
    assert list(conntra.choices(visits([1, 0], [2, 2], tried))) == [
        "visit 0 chose level 1 of errors [3, 2, 2], Algorithm 2 chooses 2"]
    assert list(conntra.choices(visits([2, 0], [2, 1], tried))) == [
        "the error after visit 1 is 1, of its levels' errors [2, 5, 4]"]
    assert list(conntra.choices(visits([], [], np.zeros((0, 3))))) == []
