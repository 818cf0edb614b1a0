"""Nothing in tinyq makes code of data: no pickle, no eval, no shell; a network named by the user is the exception."""
import ast

import pytest
from test_import_order import imports_of, modules

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "subprocess", "dill", "cloudpickle", "torch"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {("os", "system"), ("os", "popen"), ("np", "load"), ("np", "fromfile"), ("np", "save")}
# The one runs a fixed program, as wrong variables abort what imports numba; the other runs itself, to measure memory.
STARTS_PROCESSES = {"tinyq.kernels.jit.variables", "tinyq.packed.latency"}
USERS_OWN = "tinyq.own_code.code_file"          # runs the files that flags name


@pytest.mark.parametrize("name, path", list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_data_is_never_run(name, path):
    forbidden = FORBIDDEN_MODULES - ({"subprocess"} if name in STARTS_PROCESSES else set())
    assert not forbidden & {imported.split(".")[0] for imported in imports_of(path)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{name}, line {node.lineno}: {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in FORBIDDEN_METHODS, f"{name}, line {node.lineno}: {node.attr}"
        if isinstance(node, ast.Attribute) and node.attr == "exec_module":
            assert name == USERS_OWN
