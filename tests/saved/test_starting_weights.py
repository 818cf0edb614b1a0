"""Weights to start from: the layer that gives the logits may have another number of classes, wherever it stands."""
import numpy as np
import pytest

from tinyq import models, nn
from tinyq.errors import BadInput
from tinyq.files import weights as files
from tinyq.own_code import UserFunction
from tinyq.run import session
from tinyq.run.checkpoint_network import load_start
from tinyq.run.settings.resolve import resolve
from tinyq.saved.model_file import load_weights
from tinyq.streams import Streams


class Net(nn.Module):
    """A network whose last layer is assigned first."""

    def __init__(self, classes, width=6):
        self.fc = nn.Linear(width, classes)
        self.layers = [nn.Linear(4, width), nn.Linear(width, width)]


def saved(path, classes, **options):
    model = Net(classes, **options).initialise(Streams(1))
    files.write(path, files.Weights(model.state_dict(), attributes={"class_names": [f"c{i}" for i in range(classes)]}))
    return model.state_dict()


@pytest.mark.parametrize("classes, kept", [(3, []), (6, ["fc.weight", "fc.bias"]), (5, ["fc.weight", "fc.bias"])])
def test_only_the_layer_of_another_number_of_classes_is_kept(classes, kept, tmp_path):
    there = saved(tmp_path / "w.h5", classes)
    model = Net(3).initialise(Streams(0))
    own = model.state_dict()
    assert load_weights(tmp_path / "w.h5", model) == (False, kept)
    for name, array in model.state_dict().items():
        assert np.array_equal(array, own[name] if name in kept else there[name])


def test_other_layers_of_another_size_are_refused(tmp_path):
    saved(tmp_path / "w.h5", 3, width=7)
    with pytest.raises(BadInput, match="fc/weight is float32"):
        load_weights(tmp_path / "w.h5", Net(3))


OUTPUTS_FIRST = """
from tinyq import nn

class Net(nn.Module):
    def __init__(self, classes, shape):
        self.fc, self.a, self.b = nn.Linear(6, classes), nn.Linear(shape[0], 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.fc(self.b(self.a(x)))
"""


def test_a_checkpoint_to_start_from_keeps_the_same_layer(tmp_path):
    (tmp_path / "net.py").write_text(OUTPUTS_FIRST)
    name = f"{tmp_path}/net.py:Net"
    session.start(resolve({"model": name, "data": "iris", "method": "backprop", "recipe": "none", "epochs": 1,
                           "threads": 1, "workers": 0, "audit": "off", "output": str(tmp_path / "run")}))
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    for classes, kept in ((3, []), (5, ["fc.weight", "fc.bias"])):
        model = models.build(UserFunction.read("model", name), classes, (4,)).initialise(Streams(0))
        own = model.state_dict()
        assert load_start(path, model, UserFunction.read("model", name)) == (False, kept)
        assert [key for key, array in model.state_dict().items() if np.array_equal(array, own[key])] == kept
