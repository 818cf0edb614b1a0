import numpy as np
import pytest

from tinyq import data, models
from tinyq.errors import BadInput
from tinyq.files import weights as files
from tinyq.levels import NAMED
from tinyq.methods import LevelQuantizer
from tinyq.run.settings.resolve import resolve
from tinyq.saved import model_file
from tinyq.saved.measure import logits_of
from tinyq.streams import Streams

CONFIG = resolve({"levels": "shift1"}).config
BUNDLE = data.load("digits")


def digits_cnn(constrain="inner"):
    return models.build("digits_cnn", 10, (1, 8, 8), constrain).initialise(Streams(0))


def constrained():
    model = digits_cnn()
    for _, parameter in model.constrained_parameters():
        view = parameter.parametrization = LevelQuantizer(NAMED["shift1"], np.float32(0.07))
        parameter.data[...] = view.effective(parameter.data)
    return model


@pytest.fixture
def path(tmp_path):
    attributes = model_file.describe(CONFIG, BUNDLE)
    weights = model_file.weights_of(constrained(), attributes, model_file.probe_inputs(BUNDLE))
    files.write(tmp_path / "model.h5", weights)
    return tmp_path / "model.h5"


def test_a_loaded_network_computes_the_same_bits(path):
    model, attributes = model_file.load_model(path)
    x, _ = BUNDLE.test.batch(np.arange(7))
    assert np.array_equal(logits_of(model, x), logits_of(constrained(), x))
    assert attributes["levels"] == "shift1" and attributes["model"] == "digits_cnn"
    assert set(model_file.views(model)) == {"conv2.weight", "conv3.weight"}


def test_the_file_holds_shown_weights_scales_and_levels_and_no_latent(path):
    held = files.read(path, digits_cnn().state_dict())
    assert set(held.scales) == {"conv2.weight", "conv3.weight"}
    assert held.scales["conv2.weight"].shape == (32,) and held.levels["conv2.weight"].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert len(np.unique(held.state["conv2.weight"])) == 5
    assert held.probe_inputs.shape == (4, 1, 8, 8)


def test_latent_weights_are_saved_as_they_are_shown(tmp_path):
    model = digits_cnn()
    for _, parameter in model.constrained_parameters():
        parameter.parametrization = LevelQuantizer(NAMED["ternary"], np.float32(0.05))
    state = model_file.shown_state(model)
    assert set(np.unique(state["conv2.weight"]).tolist()) == {float(np.float32(-0.05)), 0.0, float(np.float32(0.05))}
    assert np.array_equal(state["conv1.weight"], model.conv1.weight.data)


def test_another_network_of_the_same_shapes_is_told_by_its_probe(path, monkeypatch):
    def other(num_classes, input_shape):
        model = models.digits_cnn.digits_cnn(num_classes, input_shape)
        model.bn1.eps = 1e-3
        return model

    monkeypatch.setitem(models.REGISTRY, "digits_cnn", other)
    with pytest.raises(BadInput, match="does not compute the logits stored"):
        model_file.load_model(path)


def test_a_tolerance_in_the_file_is_kept_to(tmp_path):
    held = model_file.weights_of(constrained(), model_file.describe(CONFIG, BUNDLE), model_file.probe_inputs(BUNDLE))
    held.probe_logits[0, 0] += 1e-6
    files.write(tmp_path / "a.h5", held)
    with pytest.raises(BadInput, match="does not compute"):
        model_file.load_model(tmp_path / "a.h5")
    held.attributes["probe_tolerance"] = 1e-4
    files.write(tmp_path / "b.h5", held)
    model_file.load_model(tmp_path / "b.h5")


def test_a_last_layer_for_other_classes_keeps_its_own_values(path):
    model = models.build("digits_cnn", 4, (1, 8, 8)).initialise(Streams(1))
    fc = model.fc.weight.data.copy()
    assert model_file.load_weights(path, model) == (True, ["fc.weight", "fc.bias"])
    assert np.array_equal(model.fc.weight.data, fc) and np.array_equal(model.conv1.weight.data,
                                                                       constrained().conv1.weight.data)


def test_starting_from_a_file_takes_its_weights_and_leaves_its_levels(path):
    model = digits_cnn()
    assert model_file.load_weights(path, model) == (True, [])
    assert model_file.views(model) == {} and len(np.unique(model.conv3.weight.data)) == 5
    with pytest.raises(BadInput, match="is missing"):
        model_file.load_weights(path, models.build("lenet", 10, (1, 28, 28)))


@pytest.mark.parametrize("attributes", [{}, {"model": "digits_cnn"},
                                        {"input_shape": "1,x", "model": "m", "class_names": []}])
def test_a_file_that_does_not_say_what_it_is_gets_refused(tmp_path, attributes):
    files.write(tmp_path / "m.h5", files.Weights(digits_cnn().state_dict(), attributes=attributes))
    with pytest.raises(BadInput, match="do not say which model"):
        model_file.load_model(tmp_path / "m.h5")


def test_a_file_of_an_unknown_model_names_the_file(tmp_path):
    attributes = model_file.describe(CONFIG, BUNDLE) | {"model": "digits_cmm"}
    files.write(tmp_path / "m.h5", files.Weights(digits_cnn().state_dict(), attributes=attributes))
    with pytest.raises(BadInput, match=r"m\.h5: its network 'digits_cmm' does not come with tinyq"):
        model_file.load_model(tmp_path / "m.h5")
