"""Runs side by side: what differs in settings and figures, and all curves in one picture."""
import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest
from run_folders import run_folder, toml
from test_output import EVIL, is_clean

from tinyq.__main__ import main
from tinyq.compare.comparison_tables import as_csv, as_lines, as_markdown, tables_of
from tinyq.compare.groups import FIGURES, groups_of
from tinyq.compare.overlay import colour_of, overlay
from tinyq.compare.run_record import read_runs
from tinyq.errors import BadInput

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def nine(tmp_path):
    """Three settings with three seeds each."""
    made = []
    for method, levels in (("cbp", "ternary"), ("rpr", "ternary"), ("cbp", "binary")):
        for seed in (0, 1, 2):
            made.append(run_folder(tmp_path / f"{method}-{levels}-{seed}", {"method": method, "levels": levels,
                                   "seed": seed, "threads": seed}, scale=1 + seed / 10 + (levels == "binary"),
                                   result={"test_accuracy": 0.9 + seed / 100}))
    return made


def compare(folders, capsys, *flags):
    capsys.readouterr()
    code = main(["compare", *map(str, folders), *map(str, flags)])
    return code, *capsys.readouterr()


def svg_of(folders):
    return ElementTree.fromstring(str(overlay(groups_of(read_runs(folders)))))


def test_runs_that_differ_in_their_seed_alone_are_a_group(nine):
    groups = groups_of(read_runs(nine))
    assert [group.label for group in groups] == ["method cbp, levels ternary", "method rpr, levels ternary",
                                                 "method cbp, levels binary"]
    assert [group.seeds for group in groups] == ["0, 1, 2"] * 3


def test_the_tables_say_what_differs_the_figures_and_their_mean_and_range(nine, capsys):
    code, out, err = compare(nine, capsys)
    assert (code, err) == (0, "")
    settings = out.partition("\nruns\n")[0]
    assert "method  levels" in settings and "model" not in settings and "threads" not in settings
    assert re.search(r"cbp-binary-2 +3  finished +4 +40  0\.5500", out)
    assert re.search(r"1  method cbp, levels ternary +3 .* 9\.00% \(8\.00% to 10\.00%\)", out)
    assert "python -m tinyq.audit compare A B finds the first step" in out


def test_a_narrow_terminal_gets_the_columns_in_parts(nine):
    tables = tables_of(groups_of(read_runs(nine)))
    wide, narrow = as_lines(tables, None), as_lines(tables, 60)
    assert max(map(len, wide)) > 100 and max(map(len, narrow)) <= 60
    assert sum(line.startswith("cbp-ternary-0") for line in narrow) > 1
    words = {word for line in wide for word in line.split() if "%" in word}
    assert words <= {word for line in narrow for word in line.split()}


def test_a_group_has_one_colour_thin_lines_for_runs_and_a_thick_one_for_their_mean(nine):
    lines = svg_of(nine).findall(f"{SVG}polyline")
    assert len(lines) == 2 * 3 * 4 and {line.get("stroke") for line in lines} == {colour_of(n) for n in (1, 2, 3)}
    thick = [line for line in lines if line.get("stroke-width") == "2.4"]
    assert len(thick) == 2 * 3 and all(line.get("opacity") is None for line in thick)
    texts = [text.text for text in svg_of(nine).findall(f"{SVG}text")]
    assert "1: method cbp, levels ternary; 3 runs, test error 9.00% (8.00% to 10.00%)" in texts
    assert texts.count("float") == 2
    assert texts.count("cbp, rpr") == 2 and "thin: each run; thick: their mean" in texts


def test_one_run_needs_no_groups_and_no_mean(tmp_path, capsys):
    code, out, _ = compare([run_folder(tmp_path / "one")], capsys)
    assert code == 0 and "settings that differ" not in out and "mean" not in out and "audit compare" not in out
    assert len(svg_of([tmp_path / "one"]).findall(f"{SVG}polyline")) == 2


def test_many_groups_have_colours_of_their_own(tmp_path):
    made = [run_folder(tmp_path / str(i), {"lr": i / 10}, epochs=2) for i in range(70)]
    found = svg_of(made)
    assert len({line.get("stroke") for line in found.findall(f"{SVG}polyline")}) == 70
    assert "and 10 more groups" in [text.text for text in found.findall(f"{SVG}text")]


def test_phases_that_begin_close_together_do_not_print_over_each_other(tmp_path):
    made = [run_folder(tmp_path / str(i), {"method": f"method{i}"}, epochs=12, pretrain=i + 1) for i in range(6)]
    names = [text for text in svg_of(made).findall(f"{SVG}text") if (text.text or "").startswith("method")
             and float(text.get("y")) < 80 and float(text.get("x")) < 490]
    boxes = sorted((float(text.get("y")), float(text.get("x")), len(text.text) * 5.6) for text in names)
    assert len(boxes) >= 5
    for (y, x, width), (other_y, other_x, _) in zip(boxes, boxes[1:], strict=False):
        assert y != other_y or x + width <= other_x


def test_an_unfinished_run_is_said_to_be_one_and_its_curve_ends_in_a_dot(tmp_path, capsys):
    made = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b", {"seed": 1}, epochs=3, result=False)]
    code, out, _ = compare(made, capsys)
    assert code == 0 and re.search(r"b +1  unfinished +3 +30 ", out)
    assert len(svg_of(made).findall(f"{SVG}circle")) == 2
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.toml").write_bytes((tmp_path / "a" / "config.toml").read_bytes())
    code, out, _ = compare([tmp_path / "a", tmp_path / "c"], capsys)
    assert code == 0 and re.search(r"c +1  unfinished +0 +- ", out)


def test_mean_and_range_are_those_of_the_finished_runs(tmp_path):
    made = [run_folder(tmp_path / str(i), {"seed": i}, epochs=4 - i, result=None if i < 2 else False, scale=1 + i)
            for i in range(3)]
    group, = groups_of(read_runs(made[:1] + made[2:]))
    loss = next(figure for figure in FIGURES if figure.key == "loss")
    assert group.spread(loss).count == 1 and group.spread(loss).mean == 0.25
    assert groups_of(read_runs(made[2:]))[0].spread(loss).mean == 1.5


def test_a_result_from_before_a_continuation_does_not_count(tmp_path):
    run, = read_runs([run_folder(tmp_path / "a", result={"steps": 20})])
    assert (run.state, run.result) == ("unfinished", {})


@pytest.mark.parametrize("file, data, fault", [
    ("config.toml", b"model = \xff", "no readable config.toml"), ("config.toml", None, "no readable config.toml"),
    ("result.json", b"[1]", "no readable result.json"), ("result.json", b"[" * 100_000, "no readable result.json"),
    ("metrics.jsonl", b'{"record": "epoch", "epoch": "x", "loss": 1e999, "step": [], "phase": {}}\n', ""),
    ("metrics.jsonl", b'{"record": "epoch", "epoch": 3, "loss": true, "step": 1' + b"0" * 400 + b"}\n", ""),
    ("metrics.jsonl", "folder", "no readable metrics.jsonl")])
def test_a_damaged_run_is_compared_as_far_as_it_is_whole(file, data, fault, tmp_path, capsys):
    made = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b")]
    (tmp_path / "b" / file).unlink()
    if data == "folder":
        (tmp_path / "b" / file).mkdir()
    elif data is not None:
        (tmp_path / "b" / file).write_bytes(data)
    code, out, _ = compare(made, capsys, "--svg", tmp_path / "c.svg", "--csv", tmp_path / "c.csv")
    assert code == 0 and fault in out and "Traceback" not in out
    ElementTree.parse(tmp_path / "c.svg")


def test_nothing_of_a_foreign_run_acts_on_what_shows_it(tmp_path, capsys):
    made = [run_folder(tmp_path / "a"), run_folder(tmp_path / f"=b{EVIL.replace('/', '')}", {
        "model": EVIL, "levels": "=HYPERLINK(1)", "method": "|[x](http://e.x)`<b>"})]
    records = (made[1] / "metrics.jsonl").read_text().replace('"float"', json.dumps(EVIL))
    (made[1] / "metrics.jsonl").write_text(records)
    flags = [f"--{kind}={tmp_path}/c.{kind}" for kind in ("svg", "csv", "markdown")]
    code, out, err = compare(made, capsys, *flags)
    assert code == 0 and is_clean(out) and is_clean(err)
    svg = (tmp_path / "c.svg").read_text()
    assert "<script" not in svg and ElementTree.fromstring(svg) is not None and is_clean(svg)
    page = (tmp_path / "c.markdown").read_text()
    assert "<" not in page.replace("![curves]", "") and r"\|\[x\](http\://e.x)\`" in page
    columns = [line.replace(r"\|", "").count("|") for line in page.splitlines() if line.startswith("|")]
    assert len(set(columns)) == 2
    cells = [cell for row in csv.reader(io.StringIO((tmp_path / "c.csv").read_text())) for cell in row]
    assert not any(cell.lstrip().startswith(("=", "@", "+")) for cell in cells)


def test_the_heading_of_a_group_is_text_too(tmp_path):
    made = [run_folder(tmp_path / str(seed), {"model": EVIL, "method": "[x](http://e.x)", "seed": seed})
            for seed in (0, 1)]
    page = as_markdown(tables_of(groups_of(read_runs(made))))
    assert "### 2 runs of model" in page and "<" not in page and r"\[x\](http\://e.x)" in page and is_clean(page)


def test_the_csv_has_the_settings_that_differ_and_unrounded_numbers(nine):
    rows = list(csv.DictReader(io.StringIO(as_csv(groups_of(read_runs(nine))))))
    assert len(rows) == 9 and rows[1]["seed"] == "1" and rows[3]["method"] == "rpr" and rows[3]["group"] == "2"
    assert float(rows[1]["test_error"]) == 1 - 0.91 and "model" not in rows[0]


def test_a_negative_number_stays_a_number_in_the_csv(tmp_path):
    folder = run_folder(tmp_path / "a")
    text = (folder / "metrics.jsonl").read_text().replace('"error"', '"validation_r2": -0.5, "error"')
    (folder / "metrics.jsonl").write_text(text)
    row, = csv.DictReader(io.StringIO(as_csv(groups_of(read_runs([folder])))))
    assert row["validation_r2"] == "-0.5"


def test_the_page_shows_the_picture_beside_it(nine, tmp_path, capsys):
    (tmp_path / "of runs").mkdir()
    code, out, _ = compare(nine, capsys, "--svg", tmp_path / "of runs" / "c.svg", "--markdown", tmp_path / "page.md")
    assert code == 0 and "written: " in out
    assert (tmp_path / "page.md").read_text().startswith("![curves](of%20runs/c.svg)\n")
    assert not as_markdown(tables_of(groups_of(read_runs(nine)))).startswith("!")


def test_json_names_groups_runs_and_spreads(nine, capsys):
    code, out, _ = compare(nine, capsys, "--json")
    found = json.loads(out)
    assert code == 0 and found["settings"] == ["method", "levels", "seed"]
    assert found["groups"][1]["settings"] == {"method": "rpr", "levels": "ternary"}
    assert found["groups"][0]["figures"]["test_error"]["runs"] == 3
    assert found["groups"][0]["runs"][2]["figures"]["test_error"] == pytest.approx(0.08)


def test_runs_are_named_by_as_many_folders_as_tell_them_apart_and_once(tmp_path):
    made = [run_folder(tmp_path / "x" / "run"), run_folder(tmp_path / "y" / "run", {"seed": 1})]
    (tmp_path / "link").symlink_to(made[0])
    assert [run.name for run in read_runs([*made, made[0] / ".." / "run"])] == ["x/run", "y/run"]
    assert len(read_runs([made[0], tmp_path / "link"])) == 1


def test_a_folder_of_seeds_stands_for_its_runs(tmp_path):
    for seed in (10, 2):
        run_folder(tmp_path / "s" / f"seed-{seed}", {"seed": seed})
    assert [run.name for run in read_runs([tmp_path / "s"])] == ["seed-2", "seed-10"]


@pytest.mark.parametrize("folder, reason", [("none", "no such folder"), (".", "no config.toml, metrics.jsonl or")])
def test_a_folder_without_a_run_is_refused(folder, reason, tmp_path):
    with pytest.raises(BadInput, match=reason):
        read_runs([tmp_path / folder])


def test_a_target_that_cannot_be_written_is_told_before_anything_is_read(tmp_path, capsys):
    code, out, err = compare([tmp_path / "none"], capsys, "--svg", tmp_path / "no" / "c.svg")
    assert code == 73 and "c.svg" in err


def test_settings_that_no_version_knows_are_compared_too(tmp_path):
    made = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b")]
    with open(made[1] / "config.toml", "a") as file:
        file.write("[ste]\n" + toml({"factor": 2.5}))
    assert [group.label for group in groups_of(read_runs(made))] == ["a", "ste.factor 2.5"]
