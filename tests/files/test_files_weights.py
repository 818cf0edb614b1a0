import hashlib

import h5py
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import weights
from tinyq.files.weights import Weights

SCALE = np.array([0.1, 0.3], np.float32)
LEVELS = np.array([-1, 0, 1], np.float32)
CODES = np.array([[0, 1, 2], [2, 2, 1]])
STATE = {
    "conv.weight": SCALE[:, None] * LEVELS[CODES],
    "conv.bias": np.array([1.0, 2.0], np.float32),
    "bn.num_batches_tracked": np.int64(7),
    "alpha": np.ones(1, np.float32),
}


def constrained(**changes):
    options = dict(state=STATE, scales={"conv.weight": SCALE}, levels={"conv.weight": LEVELS},
                   attributes={"model": "tiny"}, probe_inputs=np.ones((2, 3), np.float32),
                   probe_logits=np.zeros((2, 2), np.float32))
    return Weights(**{**options, **changes})


def test_what_was_written_is_read(tmp_path):
    weights.write(tmp_path / "m.h5", constrained())
    back = weights.read(tmp_path / "m.h5", STATE)
    assert all(np.array_equal(back.state[name], STATE[name]) for name in STATE)
    assert np.array_equal(back.scales["conv.weight"], SCALE) and np.array_equal(back.levels["conv.weight"], LEVELS)
    assert back.attributes["model"] == "tiny" and back.attributes["weights_sha256"] == weights.weights_sha256(STATE)
    assert back.probe_inputs.shape == (2, 3) and back.probe_logits.shape == (2, 2)


def test_a_file_is_read_without_its_model(tmp_path):
    weights.write(tmp_path / "m.h5", constrained())
    back = weights.read(tmp_path / "m.h5")
    assert back.state.keys() == STATE.keys() and all(np.array_equal(back.state[name], STATE[name]) for name in STATE)
    assert back.scales.keys() == back.levels.keys() == {"conv.weight"}


def test_a_float_file_has_no_scales(tmp_path):
    weights.write(tmp_path / "m.h5", Weights(STATE))
    back = weights.read(tmp_path / "m.h5", STATE)
    assert back.scales == {} and back.probe_inputs is None


def test_viewers_find_layer_and_weight_names(tmp_path):
    weights.write(tmp_path / "m.h5", constrained())
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["layer_names"].tolist() == [b"conv", b"bn"]
        names = [b"weight", b"bias", b"weight_scale", b"weight_levels"]
        assert file["conv"].attrs["weight_names"].tolist() == names
        assert all(name.decode() in file["conv"] for name in names)         # Keras and Netron look in the layer's group


def test_the_digest_is_the_documented_one():
    state = {"b": np.array([1.0, -2.0], np.float32), "a": np.int64(5)}
    written = (b"a\0<i8\0\0" + (5).to_bytes(8, "little")
               + b"b\0<f4\x002\0" + np.array([1.0, -2.0], "<f4").tobytes())
    assert weights.weights_sha256(state) == hashlib.sha256(written).hexdigest()


def test_the_digest_does_not_see_memory_layout_but_sees_names_shapes_and_bits():
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    digest = weights.weights_sha256({"w": w})
    assert digest == weights.weights_sha256({"w": np.asfortranarray(w)})
    assert digest == weights.weights_sha256({"w": w.astype(">f4")})
    assert len({digest, weights.weights_sha256({"v": w}), weights.weights_sha256({"w": w.T}),
                weights.weights_sha256({"w": w.reshape(3, 2)}), weights.weights_sha256({"w": -w})}) == 5


def test_a_weight_off_its_levels_by_one_unit_in_the_last_place_is_refused(tmp_path):
    state = {**STATE, "conv.weight": STATE["conv.weight"].copy()}
    state["conv.weight"][0, 0] = np.nextafter(state["conv.weight"][0, 0], np.float32(0))
    weights.write(tmp_path / "m.h5", constrained(state=state))
    with pytest.raises(BadInput, match=r"conv.weight: 1 of 6 weights are not scale \* level"):
        weights.read(tmp_path / "m.h5", STATE)


@pytest.mark.parametrize("scales, levels", [(-SCALE, LEVELS), (SCALE, LEVELS[::-1])])
def test_a_negative_scale_or_unsorted_levels_are_refused(tmp_path, scales, levels):
    weights.write(tmp_path / "m.h5", constrained(scales={"conv.weight": scales}, levels={"conv.weight": levels}))
    with pytest.raises(BadInput, match="positive and the levels ascending"):
        weights.read(tmp_path / "m.h5", STATE)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "m.h5"
    weights.write(path, constrained())
    data = bytearray(path.read_bytes())
    data[data.index(STATE["conv.bias"].tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match="damaged"):
        weights.read(path, STATE)


def test_another_model_is_told_every_difference(tmp_path):
    weights.write(tmp_path / "m.h5", constrained())
    other = {"conv.weight": np.zeros((2, 4), np.float32), "fc.weight": np.zeros((1, 2), np.float32)}
    with pytest.raises(BadInput) as caught:
        weights.read(tmp_path / "m.h5", other)
    for part in ("fc/weight is missing", "conv/weight is", "alpha is not of this model", "conv/bias is not"):
        assert part in str(caught.value)


def test_another_hdf5_file_is_not_a_weight_file(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["w"] = 1.0
    with pytest.raises(BadInput, match="not a tinyq weight file"):
        weights.read_attributes(tmp_path / "m.h5")
