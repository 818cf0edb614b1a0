from xml.etree import ElementTree

import numpy as np
import pytest

from tinyq.run import plots
from tinyq.run.svg import Axes, Picture, round_numbers
from tinyq.run.table import table

EPOCHS = [{"record": "epoch", "phase": "float" if i < 2 else "cbp", "loss": 0.5 / (i + 1), "error": 0.1 / (i + 1),
           "validation_loss": None, "validation_error": 0.0} for i in range(4)]


def shapes(picture, tag):
    return ElementTree.fromstring(str(picture)).findall(f"{{http://www.w3.org/2000/svg}}{tag}")


def test_curves_draw_a_line_a_figure_and_a_dash_where_the_method_begins():
    picture = plots.curves(EPOCHS)
    assert len(shapes(picture, "polyline")) == 3                        # validation loss is nowhere
    dashed = [line for line in shapes(picture, "line") if line.get("stroke-dasharray")]
    assert len(dashed) == 2 and dashed[0].get("x1") == dashed[0].get("x2")


def test_curves_of_a_single_epoch_and_of_zeros_are_drawn():
    for records in (EPOCHS[:1], [{**EPOCHS[0], "loss": 0.0, "error": 0.0}]):
        ElementTree.fromstring(str(plots.curves(records)))


def test_a_histogram_counts_every_weight_and_marks_every_level():
    latent = np.array([[1, 1, -1], [0, 90, -1]], np.float32)
    histogram = plots.histogram_of(latent, np.array([-1.0, 0.0, 1.0]))
    assert histogram["counts"].sum() == 6
    bins = np.digitize([-1, 0, 1, 1.49], histogram["edges"]) - 1
    assert histogram["counts"][bins].tolist() == [2, 1, 2, 1]           # the weight at 90 scales lies in the last bin
    picture = plots.level_histograms({"a<b.weight": histogram})
    assert {"-1", "0", "1", "a<b.weight"} <= {text.text for text in shapes(picture, "text")}


def test_only_what_there_is_gets_written(tmp_path):
    plots.write_all(tmp_path / "a", [{"record": "step"}], {})
    assert list((tmp_path / "a").iterdir()) == []
    plots.write_all(tmp_path / "b", EPOCHS, {})
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["curves.svg"]


@pytest.mark.parametrize("low, high", [(0, 1), (0, 60), (-1.5, 1.5), (0.001, 0.0011), (0, 1e9)])
def test_tick_marks_are_round_and_inside(low, high):
    numbers = round_numbers(low, high)
    assert 3 <= len(numbers) <= 11
    assert all(low - 1e-9 <= number <= high + 1e-9 for number in numbers)


def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances():
    axes = Axes(Picture(100, 100), 0, 0, 100, 90, (0, 1), (0.001, 1), log=True)
    assert [round(axes.y(value)) for value in (1, 0.1, 0.01, 0.001, 0)] == [0, 30, 60, 90, 90]


def test_a_table_aligns_words_left_and_numbers_right():
    assert table(["name", "n"], [["a", 1234], ["long name", 5]]).splitlines() == [
        "name           n", "---------  -----", "a          1,234", "long name      5"]
