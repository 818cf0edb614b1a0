"""Every command as `tinyq COMMAND ...`: what goes wrong is one line and its exit code, never a traceback."""
import re
import shlex

import pytest

from tinyq.__main__ import COMMANDS, main

MISTAKES = {
    "train": ("--levels tenary", 2),
    "evaluate": ("none.h5", 65),
    "convert": ("none.pth out.h5 --model resnet18", 65),
    "summary": ("none.h5", 65),
    "data": ("fetch mnst", 2),
    "compare": ("none", 65),
    "doctor": ("now", 2),
    "pack": ("none.h5 out.tq.h5", 65),
    "infer": ("none.tq.h5 --data", 65),
    "audit": ("verify none", 65),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_one_line_and_its_code(capsys, command):
    line, code = MISTAKES[command]
    assert main([command, *line.split()]) == code
    err = capsys.readouterr().err
    assert err.startswith("tinyq: ") and err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_is_a_usage_error(capsys, command):
    assert main([command, "--nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("line, code", [("data verify", 65), ("data where", 0), ("data verify mnist", 65),
                                        ("data fetch cifar10 --offline", 65), ("data", 2)])
def test_the_data_command_gives_the_code_of_what_it_found(capsys, tmp_path, monkeypatch, line, code):
    monkeypatch.setenv("TINYQ_DATA", str(tmp_path))
    assert main(line.split()) == code
    assert capsys.readouterr().err.count("\n") == (code != 0)


@pytest.mark.parametrize("value, code", [("yes", 2), ("2", 2), ("1", 65)])
def test_the_variable_that_forbids_connections_is_0_or_1(capsys, tmp_path, monkeypatch, value, code):
    monkeypatch.setenv("TINYQ_OFFLINE", value)
    assert main(f"data fetch mnist --data-path {tmp_path}".split()) == code
    assert code == 65 or f"TINYQ_OFFLINE={value}: must be 1" in capsys.readouterr().err


@pytest.mark.parametrize("line, name", [
    ("train --config=", "--config"), ("train --resume ''", "--resume"), ("evaluate ''", "RUN_OR_MODEL.h5"),
    ("pack '' a.tq.h5", "IN"), ("infer '' --data", "MODEL.tq.h5"), ("infer a.tq.h5 ''", "IMAGE"),
    ("convert '' a.h5 --model resnet18", "IN"), ("summary ''", "RUN_OR_MODEL.h5"), ("audit verify ''", "RUN"),
    ("pack a b.tq.h5 --model=", "--model")])
def test_an_empty_path_is_not_the_working_folder(capsys, line, name):
    assert main(shlex.split(line)) == 2
    assert re.fullmatch(rf"tinyq: ({name}): is empty; give a value, or leave it out\n", capsys.readouterr().err)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_well(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0 and "example" in capsys.readouterr().out
