"""Code of the user's own: its names in settings, its copies in a run folder, and when they run."""
import os

import pytest

from tinyq.errors import BadInput, UsageError
from tinyq.own_code import RunCode, UserFunction, names_code, recorded
from tinyq.own_code.code_names import code_in, copies_in, copy_names

COUNTS = 'import os\nos.environ["RUNS"] = str(int(os.environ["RUNS"]) + 1)\n'


@pytest.fixture(autouse=True)
def nothing_ran(monkeypatch):
    monkeypatch.setenv("RUNS", "0")


@pytest.fixture
def settings(tmp_path):
    """Settings that name two functions of one file, and a function of another file of the same name."""
    for folder, text in (("a", "def net(): return 1\ndef loss(): return 2\n"), ("b", "def data(): return 3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(COUNTS + text)
    return {"model": f"{tmp_path}/a/own.py:net", "data": f"{tmp_path}/b/own.py:data",
            "loss": f"{tmp_path}/a/own.py:loss"}


def run_of(settings, tmp_path):
    """A folder with the copies of a run, and their SHA-256."""
    run = tmp_path / "run"
    run.mkdir()
    code = RunCode.read(settings)
    code.write(run)
    return run, code.sha256


@pytest.mark.parametrize("name, is_code", [
    ("net.py:f", True), ("net.py", True), ("a/b.py:", True), ("mlp:8,16", False), ("data.npz", False), (None, False),
    ("my.python/table.csv", False), ("iris", False)])
def test_a_name_of_code_ends_in_py_or_names_a_function_of_such_a_file(name, is_code):
    assert names_code(name) == is_code


def test_settings_that_name_one_file_share_it_and_it_runs_once(settings):
    code = RunCode.read(settings)
    assert [code.functions[key].call() for key in ("model", "loss", "data", "model")] == [1, 2, 3, 1]
    assert os.environ["RUNS"] == "2" and code.functions["model"].file is code.functions["loss"].file


def test_files_of_one_name_have_copies_of_their_own(settings, tmp_path):
    run, sha256 = run_of(settings, tmp_path)
    assert sorted(sha256) == ["own.py", "own_2.py"] == sorted(path.name for path in run.iterdir())
    assert recorded(settings) == {"model": "own.py:net", "data": "own_2.py:data", "loss": "own.py:loss"}
    trusted = RunCode.trusted(run, settings, True, sha256)
    assert {key: function.call() for key, function in trusted.functions.items()} == {"model": 1, "data": 3, "loss": 2}


def test_a_numbered_copy_takes_no_name_of_another_file():
    code = {"model": "/a/x.py:f", "data": "/a/x_2.py:f", "loss": "/b/x.py:f", "plugin": "/c/x.py,/a/x.py"}
    assert list(copy_names(code).values()) == ["x.py", "x_2.py", "x_3.py", "x_4.py"]
    assert copies_in("run", code)["plugin"] == "run/x_4.py,run/x.py"


def test_settings_without_code_need_no_trust(tmp_path):
    assert code_in({"model": "lenet", "data": "iris", "plugin": None}) == {}
    assert RunCode.trusted(tmp_path, {"model": "lenet"}, False, None).sha256 == {}


def test_copies_that_are_not_trusted_are_not_read(settings, tmp_path):
    with pytest.raises(BadInput, match="own.py:net and .*own_2.py:data and .*own.py:loss, read them and add --trust"):
        RunCode.trusted(tmp_path / "nowhere", settings, False, {})


@pytest.mark.parametrize("change, says", [
    (lambda run, sha256: (run / "own.py").write_text("pass"), "own.py: is not the file that the run was made with"),
    (lambda run, sha256: (run / "own_2.py").write_bytes((run / "own.py").read_bytes()), "own_2.py: is not the file"),
    (lambda run, sha256: (run / "own.py").unlink(), "own.py: missing"),
    (lambda run, sha256: (run / "own.py").rename(run / "x") and (run / "own.py").symlink_to(run / "x"), "is a link"),
    (lambda run, sha256: sha256.pop("own_2.py"), "own_2.py: no SHA-256 of it is on record"),
    (lambda run, sha256: sha256.update({"own.py": sha256["own_2.py"]}), "own.py: is not the file"),
    (lambda run, sha256: sha256.update({"own.py": True}), "own.py: no SHA-256 of it is on record"),
], ids=["changed", "exchanged", "removed", "linked", "not recorded", "recorded as another", "recorded as no text"])
def test_a_copy_that_is_not_the_recorded_one_is_refused_and_never_run(settings, tmp_path, change, says):
    run, sha256 = run_of(settings, tmp_path)
    change(run, sha256)
    with pytest.raises(BadInput, match=says):
        RunCode.trusted(run, settings, True, sha256)
    assert os.environ["RUNS"] == "0"


@pytest.mark.parametrize("name, says", [
    ("own.py", "loss own.py: say which function it is, such as own.py:function"),
    ("own.py:a-b", "say which function"), ("nowhere.py:f", "loss nowhere.py:f: there is no file nowhere.py"),
    ("own.py:g", "loss own.py:g: own.py defines no g"),
    ("own.py:number", "own.py defines no number"),
    ("own.py:f", "loss own.py:f: own.py:1 failed: ZeroDivisionError"),
    ("own.py:leaves", "own.py:4 failed: SystemExit: no more"),
])
def test_what_is_wrong_with_a_users_function_is_said_with_its_setting_and_line(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("def f(): return 1 / 0\nnumber = 3\ndef leaves():\n"
                                     "    raise SystemExit('no more')\n")
    with pytest.raises(UsageError) as refusal:
        UserFunction.read("loss", name).call()
    assert says in str(refusal.value) and "\n" not in str(refusal.value)
