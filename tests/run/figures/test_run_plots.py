import json
from xml.etree import ElementTree

import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.output.text_table import table
from tinyq.run.figures import curves
from tinyq.run.figures.curve_records import curve_records
from tinyq.run.figures.svg import COLOURS, Axes, Picture, round_numbers

EPOCHS = [{"record": "epoch", "phase": "float" if i < 2 else "cbp", "loss": 0.5 / (i + 1), "error": 0.1 / (i + 1),
           "validation_loss": None, "validation_error": 0.0} for i in range(4)]


def shapes_in(element, tag):
    return element.findall(f"{{http://www.w3.org/2000/svg}}{tag}")


def shapes(picture, tag):
    return shapes_in(ElementTree.fromstring(str(picture)), tag)


def test_curves_draw_a_line_a_figure_and_a_dash_where_the_method_begins():
    picture = curves.curves(EPOCHS)
    assert len(shapes(picture, "polyline")) == 3                        # validation loss is nowhere
    dashed = [line for line in shapes(picture, "line") if line.get("stroke-dasharray")]
    assert len(dashed) == 2 and dashed[0].get("x1") == dashed[0].get("x2")


def test_curves_of_a_single_epoch_and_of_zeros_are_drawn():
    for records in (EPOCHS[:1], [{**EPOCHS[0], "loss": 0.0, "error": 0.0}]):
        assert len(shapes(curves.curves(records), "circle")) == 3


def test_curves_name_their_phases_and_mark_points_only_when_they_are_few():
    picture = curves.curves(EPOCHS)
    texts = [text.text for text in shapes(picture, "text")]
    assert texts.count("float") == texts.count("cbp") == 2 and len(shapes(picture, "circle")) == 12
    assert shapes(curves.curves(EPOCHS * 4), "circle") == []


def test_an_axis_is_logarithmic_only_where_no_zero_is_to_be_drawn():
    texts = [text.text for text in shapes(curves.curves(EPOCHS), "text")]
    assert "loss (log scale)" in texts and "error, %" in texts           # the validation error is 0
    zeros = next(line for line in shapes(curves.curves(EPOCHS), "polyline") if line.get("stroke") == COLOURS[1])
    assert {point.split(",")[1] for point in zeros.get("points").split()} == {"290.0"}      # at the axis' own 0
    assert "0" in texts


@pytest.mark.parametrize("levels", [(-1, 0, 1), (-1, 1), (-1, -0.5, -0.25, 0, 0.25, 0.5, 1), (-3, -1, 1, 3), (0, 1)])
def test_the_bins_of_a_histogram_are_centred_on_the_levels_and_hold_all_near_values(levels):
    latent = np.array([*levels, 1.9 * levels[-1]])
    histogram = curves.histogram_of(latent, np.array(levels, float))
    centres = (histogram["edges"][1:] + histogram["edges"][:-1]) / 2
    assert all(np.abs(centres - level).min() < 1e-9 for level in levels)
    assert histogram["counts"].sum() == len(latent) and histogram["outside"] == 0 and 40 < len(centres) < 100


def test_a_histogram_counts_every_weight_and_marks_every_level():
    latent = np.array([[1, 1, -1], [0, 90, -1]], np.float32)
    histogram = curves.histogram_of(latent, np.array([-1.0, 0.0, 1.0]))
    assert histogram["counts"].sum() == 5 and histogram["outside"] == 1      # one weight lies at 90 scales
    bins = np.digitize([-1, 0, 1, 2.9], histogram["edges"]) - 1
    assert histogram["counts"][bins].tolist() == [2, 1, 2, 0]
    texts = {text.text for text in shapes(curves.level_histograms({"a<b.weight": histogram}), "text")}
    assert {"-1", "0", "1", "a<b.weight (1 outside)"} <= texts
    assert any("units of the scale; dashed: levels" in text and "square-root" in text for text in texts)


def test_levels_that_lie_close_cost_neither_memory_nor_legibility():
    histogram = curves.histogram_of(np.zeros(3), np.array([0, 1e-9, 1]))
    assert len(histogram["counts"]) < 700 and histogram["counts"].sum() == 3
    texts = [text.text for text in shapes(curves.level_histograms({"w": histogram}), "text")]
    assert "1e-09" not in texts and "1" in texts


def test_only_what_there_is_gets_written(tmp_path):
    curves.write_all(tmp_path / "a", [{"record": "step"}], {})
    assert list((tmp_path / "a").iterdir()) == []
    curves.write_all(tmp_path / "b", EPOCHS, {})
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["curves.svg"]


@pytest.mark.parametrize("low, high", [(0, 1), (0, 60), (-1.5, 1.5), (0.001, 0.0011), (0, 1e9)])
def test_tick_marks_are_round_and_inside(low, high):
    numbers = round_numbers(low, high)
    assert 3 <= len(numbers) <= 11
    assert all(low - 1e-9 <= number <= high + 1e-9 for number in numbers)


def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances():
    axes = Axes(Picture(100, 100), 0, 0, 100, 90, (0, 1), (0.001, 1), log=True)
    assert [round(axes.y(value)) for value in (1, 0.1, 0.01, 0.001, 0)] == [0, 30, 60, 90, 90]


def test_a_short_logarithmic_axis_has_figures_too():
    picture = Picture(100, 100)
    Axes(picture, 0, 0, 100, 90, (0, 1), (1.0888, 1.1), log=True).ticks()
    assert {"1.09", "1.095", "1.1"} <= {text.text for text in shapes(picture, "text")}


def test_a_table_aligns_words_left_and_numbers_right():
    assert table(["name", "n"], [["a", 1234], ["long name", 5]]) == [
        "name           n", "---------  -----", "a          1,234", "long name      5"]


def test_a_run_that_ended_within_its_first_epoch_has_the_curve_of_its_recorded_steps():
    steps = [{"record": "step", "step": 5 * i, "objective": 1 / (i + 1)} for i in range(4)]
    picture = curves.pictures([*steps, {"record": "step", "step": 25, "objective": None}], {})["curves.svg"]
    assert ">step</text>" in picture and picture.count("<circle") == 4
    assert ">epoch</text>" in curves.pictures([*steps, *EPOCHS], {})["curves.svg"]
    assert curves.pictures([{"record": "step", "step": "x", "objective": 1.0}], {}) == {}


def test_without_print_freq_the_ledger_has_the_steps_of_the_first_epoch(tmp_path, capsys):
    line = ("--model mlp:8,16 --data iris --method backprop --recipe none --epochs 1 --batch-size 16 --threads 1 "
            "--workers 0")
    for name, flags in (("r", []), ("off", ["--audit", "off"])):
        assert main(["train", *line.split(), "--max-steps", "5", "--output", str(tmp_path / name), *flags]) == 0
    shown = ElementTree.parse(tmp_path / "r" / "plots" / "curves.svg").getroot()
    assert len(shapes_in(shown, "circle")) == 5 and not (tmp_path / "off" / "plots" / "curves.svg").exists()
    assert main(["audit", "verify", str(tmp_path / "r")]) == 0
    assert main(["audit", "replay", str(tmp_path / "r"), "--all", "--final"]) == 0
    assert main(["train", "--resume", str(tmp_path / "r"), "--max-steps", "99"]) == 0
    assert ">epoch</text>" in (tmp_path / "r" / "plots" / "curves.svg").read_text()


def test_of_many_steps_some_are_drawn_and_malformed_ones_are_not(tmp_path):
    lines = [json.dumps({"record": "step", "step": i, "metrics": {"objective": float(i).hex()}}) for i in range(5000)]
    lines[3:4] = ["[]", "{", json.dumps({"record": "step", "metrics": {"objective": 1}}),
                  json.dumps({"record": "phase"})]
    (tmp_path / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "metrics.jsonl").write_text("")
    steps = [record["step"] for record in curve_records(tmp_path)]
    assert 1000 < len(steps) <= 2000 and steps[:3] == [0, 4, 7] and steps[-1] > 4990
