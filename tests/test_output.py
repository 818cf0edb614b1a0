"""Whatever a file holds, a line is a line, markup is text and a cell is no formula."""
import ast
import json
import threading
import xml.etree.ElementTree

import pytest
from test_import_order import MODULES

from tinyq.output import quoting, terminal
from tinyq.output.help_format import fold
from tinyq.output.text_table import table
from tinyq.run.figures.svg import Picture
from tinyq.run.settings.resolve import resolve, to_toml
from tinyq.run.settings.toml_file import read_toml

EVIL = "E\x1b]0;owned\x07\x9b31m\nverified: forged\r\x7f\u202e<script>alert(1)</script>\"'&"


def is_clean(text):
    """True for printable characters and newlines."""
    return all(c.isprintable() or c == "\n" for c in text)


def test_a_line_stays_a_line(capsys):
    terminal.say("a", EVIL, "x" * 20_000)
    terminal.tell(EVIL, "b")
    out, err = capsys.readouterr()
    assert is_clean(out) and is_clean(err) and len(out.splitlines()) == 3 and len(err.splitlines()) == 2
    assert "\\x1b]0;owned\\x07\\x9b31m verified: forged\\r\\x7f\\u202e<script>" in err
    assert len(out.splitlines()[2]) == quoting.MAX_SHOWN + len(" ...")


def test_a_line_above_a_bar_is_clean_too():
    lines = []
    with terminal.lines_above(lambda text, stream: lines.append(text)):
        terminal.say("a", EVIL)
    assert is_clean(lines[0]) and lines[0].count("\n") == 1


def test_sentences_are_folded_at_spaces_where_a_terminal_is_narrower():
    line = "head " + 70 * "a" + " (keep it elsewhere)"
    assert terminal.folded([line, "b"], 80) == ["head " + 70 * "a", "  (keep it elsewhere)", "b"]
    assert terminal.folded([line], None) == [line] and terminal.folded([90 * "c"], 80) == [90 * "c"]


def test_what_is_no_terminal_gets_a_sentence_in_a_line(monkeypatch, capsys):
    terminal.say_folded("one two three")
    monkeypatch.setattr(terminal, "output_width", lambda: 8)
    terminal.say_folded("one two three")
    assert capsys.readouterr().out == "one two three\none two\n  three\n"


def test_help_is_folded_but_no_command_is():
    command, text = "  python -m tinyq.train --data digits --method cbp --levels binary", "train a small network"
    assert fold(f"{command}   {text}", 80) == [command, f"      {text}"]
    assert fold(f"{command} --output {'x' * 30}", 80) == [f"{command} --output {'x' * 30}"]
    folded = fold("  cfs/a   " + "far " * 30, 60)
    assert len(folded) == 3 and all(line.startswith(" " * 10 + "far") for line in folded[1:])
    assert fold("one two three", 8) == ["one two", "  three"] and fold("short", 8) == ["short"]


def test_what_is_told_once_is_told_once_by_all_threads(capsys):
    threads = [threading.Thread(target=terminal.tell_once, args=("told by one of many",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().err == "told by one of many\n"


def test_json_is_printed_in_ascii(capsys):
    terminal.say_json({EVIL: [EVIL, 1.5]})
    out = capsys.readouterr().out
    assert is_clean(out) and out.isascii() and json.loads(out) == {EVIL: [EVIL, 1.5]}


def test_printable_text_of_any_script_is_left_as_it_is():
    assert quoting.shown("Grüße, 三值 weights, ±1") == "Grüße, 三值 weights, ±1"


def test_markup_is_text_in_an_element_and_in_an_attribute():
    text = quoting.markup(EVIL)
    element = xml.etree.ElementTree.fromstring(f'<a b="{text}">{text}</a>')
    assert element.text == element.get("b") == quoting.shown(EVIL) and "<" not in text
    assert quoting.markup(None) == "None" and quoting.markup(1.5) == "1.5"


def test_a_picture_holds_text_alone():
    picture = Picture(10, 10)
    picture.text(1, 1, EVIL)
    svg = str(picture)
    assert is_clean(svg) and "<script>" not in svg
    assert xml.etree.ElementTree.fromstring(svg)[-1].text == quoting.shown(EVIL)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1"])
def test_no_cell_begins_a_formula(cell):
    assert not quoting.csv_cell(cell).lstrip().startswith(quoting.FORMULA_STARTS) and is_clean(quoting.csv_cell(cell))


@pytest.mark.parametrize("cell, text", [
    ("a|b", r"a\|b"), ("<b>&", "&lt;b&gt;&amp;"), ("[x](y)", r"\[x\](y)"),
    ("`c` *d* _e_ ~f~ $g$", r"\`c\` \*d\* \_e\_ \~f\~ \$g\$"),
    ("http://x.y www.x.y a@b", r"http\://x.y www\.x.y a\@b"), ("a\\|b\nc", r"a\\\|b c"), (-1.5e-5, "-1.5e-05")])
def test_a_cell_of_markdown_is_text(cell, text):
    assert quoting.markdown_cell(cell) == text and is_clean(quoting.markdown_cell(EVIL))


def test_other_cells_are_left_as_they_are():
    assert [quoting.csv_cell(v) for v in ("cat", 3, "0.25", "a=b", "")] == ["cat", "3", "0.25", "a=b", ""]


def test_a_table_escapes_its_cells_and_stays_aligned():
    lines = table(["name", "n"], [[EVIL, 1], ["b", 22]])
    assert len(lines) == 4 and all(map(is_clean, lines)) and len({len(line) for line in lines}) == 1


def test_settings_are_written_so_that_a_terminal_can_show_them_and_read_as_they_were(tmp_path):
    resolved = resolve({"model": "mlp:8,16", "data": "iris", "method": "backprop", "recipe": "none",
                        "data_path": EVIL + "\U000e0001"})
    assert is_clean(to_toml(resolved))
    (tmp_path / "c.toml").write_text(to_toml(resolved))
    assert read_toml(tmp_path / "c.toml")["data_path"] == EVIL + "\U000e0001"


def test_only_one_module_prints():
    """A print elsewhere would pass by `say`."""
    streams = {"tinyq.output.terminal", "tinyq.errors", "tinyq.run.observers.progress"}   # which flush and ask
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name) and node.id == "print":
                assert name == "tinyq.output.terminal", f"{name}, line {node.lineno}: print"
            if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__"):
                of_system = isinstance(node.value, ast.Name) and node.value.id == "sys"
                assert not of_system or name in streams, f"{name}, line {node.lineno}: sys.{node.attr}"
            if isinstance(node, ast.Attribute) and node.attr in ("print_exception", "print_exc", "print_help"):
                raise AssertionError(f"{name}, line {node.lineno}: {node.attr}")
