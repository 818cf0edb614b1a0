"""Code of the user's own that settings name: a file is read once, hashed, copied into the run folder and run.

A setting of SETTINGS may hold "path/to/file.py:function". Its function is RunCode.functions[setting], which
`Job.code` holds for every command that has the right to run it; `function.call(...)` runs it and names the line of the
user's file where it fails. The copy in the run folder, its SHA-256 in the ledger and in each checkpoint, --trust for
whatever reads a run folder, and the refusal of a file that names code (`--config`) then need no further work.
"""
from tinyq.own_code.code_file import CodeFile, UserFunction
from tinyq.own_code.code_names import SETTINGS, code_in, names_code, recorded
from tinyq.own_code.run_code import RunCode

__all__ = ["SETTINGS", "CodeFile", "RunCode", "UserFunction", "code_in", "names_code", "recorded"]
