import numpy as np
import pytest

from tinyq import levels, models, nn
from tinyq.methods import LevelQuantizer
from tinyq.saved.layer_sizes import on_levels, sizes
from tinyq.saved.layer_table import as_json, as_table, layers
from tinyq.saved.layer_trace import trace

TERNARY, SHIFT2 = levels.NAMED["ternary"], levels.NAMED["shift2"]


def test_lenet_weighs_what_is_computed_by_hand():
    rows = {row.name: row for row in layers(models.build("lenet", 10, (1, 28, 28)), (1, 28, 28), TERNARY)}
    assert sum(row.parameters for row in rows.values()) == 61_706
    assert rows["conv1"].set == "float" and rows["fc3"].set == "float"
    assert rows["conv2"].bytes_packed == 2 * 2400 // 8 + 4 + 16 * 4
    assert rows["fc1"].macs == 48_000 and rows["conv1"].macs == 28 * 28 * 6 * 25
    assert rows["conv2"].output == (16, 10, 10)
    totals = as_json(list(rows.values()))["totals"]
    assert totals["constrained"] == 2400 + 48_000 + 10_080
    assert totals["bytes_packed"] == totals["bytes_codes"] + totals["bytes_scales"] + totals["bytes_remainder"]
    assert totals["bytes_codes"] == totals["constrained"] // 4 and totals["bytes_scales"] == 12


def test_constraining_all_leaves_only_biases_and_batch_norm():
    found = layers(models.build("digits_cnn", 10, (1, 8, 8), "all"), (1, 8, 8), SHIFT2)
    assert [row.set for row in found if row.kind != "BatchNorm2d"] == ["shift2"] * 4
    assert sum(row.bytes_remainder for row in found) == 4 * (10 + 4 * (16 + 32 + 64))


def test_odd_counts_of_three_bits_take_whole_bytes():
    model = nn.constrain(nn.Sequential(nn.Linear(3, 3, bias=False)), "all")
    (size,) = sizes(model, SHIFT2)
    assert size.bytes_packed == -(-27 // 8) + 4


def test_a_view_with_a_scale_a_filter_counts_them_all():
    model = nn.constrain(nn.Sequential(nn.Linear(3, 5)), "all")
    weight = dict(model.named_parameters())["0.weight"]
    weight.parametrization = LevelQuantizer(TERNARY, np.full(5, 0.5, np.float32))
    assert sizes(model)[0].scales == 5


def test_only_weights_to_the_bit_on_a_level_count():
    model = nn.constrain(nn.Sequential(nn.Linear(2, 2)), "all")
    weight = dict(model.named_parameters())["0.weight"]
    assert on_levels(model) is None
    weight.data[...] = np.array([[0.3, -0.3], [0, np.nextafter(np.float32(0.3), np.float32(1))]], np.float32)
    weight.parametrization = LevelQuantizer(TERNARY, np.float32(0.3))
    assert on_levels(model) == 0.75


def test_tracing_leaves_the_model_as_it_was_and_adds_up_shared_layers():
    model = models.build("resnet20", 10, (3, 32, 32))
    found = trace(model, (3, 32, 32))
    assert sum(step.macs for step in found) == pytest.approx(40.8e6, rel=0.01)      # He et al. count 41 million
    assert not any("forward" in vars(module) for _, module in model.named_modules())

    class Twice(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(self.fc(x))

    assert trace(Twice(), (4,))[0].macs == 32


def test_layers_are_listed_in_the_order_in_which_they_run_and_those_that_do_not_at_the_end():
    class Reversed(nn.Module):
        def __init__(self):
            self.unused, self.last, self.first = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            return self.last(self.first(x))

    assert [row.name for row in layers(Reversed(), (4,))] == ["first", "last", "unused"]


def test_the_table_has_a_line_for_the_float_remainder():
    text = "\n".join(as_table(layers(models.build("mlp:5", 3, (4,)), (4,), TERNARY)))
    assert "float remainder" in text and "fc1" in text and len({len(line) for line in text.splitlines()[:1]}) == 1
