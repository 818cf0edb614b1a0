"""Plug-ins add rows to tinyq's tables, under names of their own, and leave no trace in the next run."""
import argparse
import os
import re

import pytest

from tinyq import data, methods, models, nn, schedules
from tinyq.__main__ import main
from tinyq.autodiff import PRIMITIVES
from tinyq.errors import UsageError
from tinyq.own_code import CodeFile
from tinyq.run.settings import plugins
from tinyq.run.settings.flags import named_plugins, train_parser
from tinyq.run.settings.resolve import resolve

START = "from tinyq import data, levels, methods, models, nn, optim, schedules\n"
STE = START + '''
class Ste(methods.Backprop):
    """Another backprop.

    Args:
        factor: a number of its own.
    """

    def __init__(self, factor: float = 0.5, *, loss=methods.CROSS_ENTROPY):
        super().__init__(loss=loss)
        self.factor = factor

methods.METHODS["fix"] = Ste
models.REGISTRY["tiny"] = lambda classes, shape: nn.Linear(shape[0], classes)
data.READERS["spirals"] = lambda *, turns=1.5: None
nn.LAYERS["Swish"] = nn.ReLU
schedules.SCHEDULES["wave"] = schedules.Schedule
'''


@pytest.fixture(autouse=True)
def none_after():
    yield
    plugins.use(None)


@pytest.fixture
def write(tmp_path):
    def written(text, name="p.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)
    return written


def rows():
    return {kind: dict(table) for kind, table in plugins.tables().items()}


def test_a_plugin_adds_rows_until_another_run_begins(write):
    before = rows()
    plugins.use(write(STE))
    assert methods.METHODS["fix"].__name__ == "Ste" and {"tiny"} == set(models.REGISTRY) - set(before["model"])
    assert "spirals" in data.READERS and "Swish" in nn.LAYERS and "wave" in schedules.SCHEDULES
    assert plugins.adds("data", "spirals") and not plugins.adds("data", "iris")
    plugins.use(None)
    assert rows() == before and plugins.active() == ()


def test_a_file_runs_once_however_often_it_is_activated(write, monkeypatch):
    monkeypatch.setenv("RUNS", "")
    file = CodeFile.read(write(STE + 'import os\nos.environ["RUNS"] += "x"\n'), "plugin p.py")
    for files in ((file,), (file,), (), (file,)):
        plugins.activate(files)
    assert os.environ["RUNS"] == "x" and "fix" in methods.METHODS


def test_the_options_of_a_plugin_are_flags_with_their_help_and_near_names_work(write):
    path = write(STE)
    plugins.use(named_plugins(["--lr", "0.1", f"--plugin={path}", "--fix.factor", "2"]))
    text = " ".join(train_parser().format_help().split())
    assert "--fix.factor X a number of its own (default: 0.5)" in text and "--spirals.turns X" in text
    assert f"({', '.join(methods.METHODS)})" in text and "fix" in methods.METHODS
    with pytest.raises(UsageError, match="did you mean '--fix.factor'"):
        train_parser().parse(["--fix.facto", "2"])
    with pytest.raises(UsageError, match="--method fixx: unknown; did you mean 'fix'"):
        resolve({"method": "fixx"})
    config = resolve({"plugin": path, "method": "FIX", "data": "Spirals", "model": "TINY", "fix.factor": "3"}).config
    assert config.options == {"fix": {"factor": 3.0}, "spirals": {"turns": 1.5}} and config.model == "tiny"


@pytest.mark.parametrize("argv, named", [
    (["--plugin", "a.py", "--plugin", "b.py"], "a.py,b.py"), ([], None),
    (["--plugin"], None), (["--plugin", "--help"], None),
    (["--help", "--lr", "-1", "--levels", "-1,0,1", "--plugin", "a.py"], "a.py"), (["--plug", "a.py"], None)])
def test_the_plugins_of_a_command_line_are_known_before_its_other_flags(argv, named):
    assert named_plugins(argv) == named


def test_an_empty_flag_after_another_is_kept_to_be_refused():
    parser = argparse.ArgumentParser()
    plugins_flag = train_parser()._option_string_actions["--plugin"]
    parser._add_action(plugins_flag)
    assert parser.parse_args(["--plugin", "a.py", "--plugin", ""]).plugin == ""


TWICE = START + 'class Other(methods.Backprop): pass\nmethods.METHODS["fix"] = Other\n'


def test_two_plugins_do_not_share_a_name(write):
    before = rows()
    first, second = write(STE, "a.py"), write(TWICE, "b.py")
    with pytest.raises(UsageError, match=r"plugin .*b\.py: the method fix needs another name: there is the method fix "
                                         r"already, plug-in .*a\.py adds it"):
        plugins.use(f"{first},{second}")
    assert rows() == before and plugins.active() == ()


@pytest.mark.parametrize("text, says", [
    ('methods.METHODS["cbp"] = methods.Backprop',
     "the method cbp needs another name: there is the method cbp already, which comes with tinyq"),
    ('methods.METHODS["CBP"] = methods.Backprop', "there is the method cbp already"),
    ('class M(methods.Backprop): pass\nmethods.METHODS["iris"] = M', "there is the data iris already"),
    ('class M(methods.Backprop): pass\nmethods.METHODS["lr"] = M', "there is the setting lr already"),
    ('data.READERS["rpr"] = lambda: None', "there is the method rpr already"),
    ('class CBP(methods.Backprop): pass\nmethods.METHODS["mine"] = CBP',
     "the method mine is a class CBP, as another method is"),
    ('class M: pass\nmethods.METHODS["mine"] = M', "the method mine lacks done, notice, begin, step"),
    ('methods.METHODS["mine"] = 3', "the method mine is a int, not a class"),
    ('models.REGISTRY["mlp"] = 3', "there is the model mlp already"),
    ('models.REGISTRY["a.b"] = print', "the model 'a.b' needs a name of letters"),
    ('models.REGISTRY["net"] = 3', "the model net is a int, not a class or a function"),
    ('data.READERS["mine"] = lambda *, sizes=(1, 2): None',
     "the data mine has an option sizes whose default is a tuple"),
    ('nn.LAYERS["Swish"] = print', "the layer Swish is no class of layers"),
    ('nn.LAYERS["Linear"] = nn.ReLU', "there is the layer Linear already"),
    ('levels.NAMED["mine"] = (1, 2)', "the level set mine is a tuple, not a tinyq.levels.LevelSet"),
    ('optim.OPTIMIZERS["lion"] = None', "the optimiser lion is a NoneType"),
    ('del methods.METHODS["cbp"]', "removes the method cbp; a plug-in may only add"),
    ("x = 3", "adds nothing; let it add a row to a table"),
    ('methods.METHODS["fix"] = 1 / 0', "p.py:2 failed: ZeroDivisionError: division by zero"),
    ("import helpers", "p.py:2 imports helpers, which lies beside it"),
], ids=lambda text: text[:50])
def test_what_a_plugin_must_not_add_is_refused_in_one_line_and_changes_nothing(write, text, says):
    write("", "helpers.py")
    before, path = rows(), write(START + text + "\n")
    with pytest.raises(UsageError) as refusal:
        plugins.use(path)
    assert str(refusal.value).startswith(f"plugin {path}: ") and says in str(refusal.value)
    assert rows() == before and "\n" not in str(refusal.value)


def test_a_plugin_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=re.escape("plugin nowhere.py: there is no file nowhere.py")):
        plugins.use("nowhere.py")


def test_a_level_set_and_an_optimiser_of_a_plugin_are_known_by_name(write):
    plugins.use(write(START + 'levels.NAMED["wide"] = levels.LevelSet("wide", (-3.0, 0.0, 3.0))\n'
                      'class Lion(optim.SGD): pass\noptim.OPTIMIZERS["lion"] = Lion\n'))
    config = resolve({"levels": "Wide", "opt": "lion"}).config
    assert (config.levels, config.opt) == ("wide", "lion")


def test_the_primitives_of_a_users_file_are_known_in_it_alone(write):
    text = START + ("from tinyq.autodiff import primitive\n@primitive\ndef swish(x):\n    return x, (lambda g: g,)\n"
                    'models.REGISTRY["net"] = swish\n')
    for name in ("a.py", "b.py"):
        plugins.use(write(text, name))
        assert "swish" not in PRIMITIVES
    with pytest.raises(UsageError, match="primitive 'relu' is declared in tinyq.autodiff.elementwise and own_code_"):
        plugins.use(write(text.replace("swish", "relu")))
    assert PRIMITIVES["relu"].forward.__module__ == "tinyq.autodiff.elementwise"


def test_a_loss_that_a_method_does_not_take_is_refused(tmp_path, capsys):
    (tmp_path / "deaf.py").write_text(START + '''
class Deaf(methods.Backprop):
    """Backprop with the loss that it likes."""

    def __init__(self):
        super().__init__()

methods.METHODS["deaf"] = Deaf
''')
    assert main(["train", "--plugin", str(tmp_path / "deaf.py"), "--method", "deaf", "--data", "iris", "--model",
                 "mlp:3", "--constrain", "all", "--class-weights", "1,1,2", "--output", str(tmp_path / "run")]) == 2
    assert "deaf, whose constructor takes no loss" in capsys.readouterr().err
