"""The file .tq.h5: the same bytes for the same network, and nothing it says is taken on trust."""
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from packed_networks import SHAPES, packed, samples
from small_models import SHAPE, small

from tinyq.errors import BadInput, UsageError
from tinyq.files import hdf5
from tinyq.packed.file import format
from tinyq.packed.file.format import golden_input
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.network import with_golden
from tinyq.streams import Streams

ATTRIBUTES = {"format": "tinyq-packed", "format_major": 1, "format_minor": 0, "required_features": ""}


@pytest.fixture(scope="module")
def network():
    return with_golden(small("groups", "shift2"))


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "a.tq.h5"
    format.write(path, network)
    return path.read_bytes()


@pytest.fixture
def path(written, tmp_path):
    (tmp_path / "a.tq.h5").write_bytes(written)
    return tmp_path / "a.tq.h5"


def forge(path, network, datasets=None, **attributes):
    """A file whose hash is right, so that only what it says is wrong; datasets: those that differ, None where gone."""
    held = {name: array for name, array in (network.payload() | (datasets or {})).items() if array is not None}
    told = ATTRIBUTES | attributes
    hdf5.write(path, held, {"/": {**told, "content_sha256": format._content_sha256(told, held)}})


def forge_graph(path, network, change):
    """A file whose graph, as JSON, went through `change`."""
    graph = json.loads(network.payload()["graph"].item())
    changed = change(graph)
    text = np.array(json.dumps(graph if changed is None else changed).encode())
    forge(path, network, {"graph": text})


def refused(path, says="."):
    with pytest.raises(BadInput, match=says) as caught:
        format.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def same(one, other):
    return one.graph == other.graph and one.meta == other.meta and {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in one.payload().items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in other.payload().items()}


@pytest.mark.parametrize("float_layer_bits", [8, 32])
@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("alexnet", "resnet18")])
def test_a_network_comes_back_and_computes_the_same(tmp_path, name, float_layer_bits):
    there = packed(name, float_layer_bits=float_layer_bits)
    format.write(tmp_path / "a.tq.h5", there)
    back = format.read(tmp_path / "a.tq.h5")
    assert same(there, back)
    x = samples(2, SHAPES[name])
    assert FloatNetwork(back)(x).tobytes() == FloatNetwork(there)(x).tobytes()


@pytest.mark.parametrize("levels, options", [("binary", {}), ("ternary", {}), ("ternary", {"trits": True}),
                                             ("shift2", {"float_layer_bits": 8}), ("-2,-1,0,1,2", {}),
                                             (",".join(map(str, range(20))), {})])
def test_every_scheme_comes_back(tmp_path, levels, options):
    there = small("residual", levels, **options)
    format.write(tmp_path / "a.tq.h5", there)
    assert same(there, format.read(tmp_path / "a.tq.h5"))


def test_the_same_network_gives_the_same_bytes(network, written, tmp_path):
    format.write(tmp_path / "b.tq.h5", network)
    assert (tmp_path / "b.tq.h5").read_bytes() == written
    format.write(tmp_path / "c.tq.h5", format.read(tmp_path / "b.tq.h5"))
    assert (tmp_path / "c.tq.h5").read_bytes() == written


def test_another_process_gives_the_same_bytes(written, tmp_path):
    script = ("import sys; from small_models import small; from tinyq.packed.file import format; "
              "from tinyq.packed.network import with_golden; "
              "format.write(sys.argv[1], with_golden(small('groups', 'shift2')))")
    subprocess.run([sys.executable, "-c", script, tmp_path / "b.tq.h5"], check=True,
                   cwd=Path(__file__).parent.parent / "integer")
    assert (tmp_path / "b.tq.h5").read_bytes() == written


def test_any_hdf5_library_reads_the_file(path, network):
    with h5py.File(path) as file:
        shown = dict(file.attrs)
        assert shown.pop("layer_names").tolist() == [f"tensors/{name}".encode() for name in network.tensors]
        assert shown == ATTRIBUTES | {"format": b"tinyq-packed", "required_features": b"",
                                      "content_sha256": file.attrs["content_sha256"]}
        assert json.loads(file["graph"][()])["input_shape"] == list(SHAPE)
        for name, tensor in network.tensors.items():
            assert np.array_equal(file[f"tensors/{name}/data"], tensor.data)


def by_hand():
    """A ternary linear layer of two outputs, as the format's description says and not as tinyq.packed writes it."""
    graph = ('{"input_shape":[5],"nodes":[{"inputs":[-1],"operation":"product",'
             '"params":{"options":null,"relu":false},"shape":[2],'
             '"weight":{"shape":[2,5],"tensor":"fc"}}],'
             '"tensors":{"fc":{"levels":3,"scales":1,"scheme":"b2"}}}')
    return {"graph": np.array(graph.encode()), "meta": np.array(b"{}"),
            "tensors/fc/data": np.array([[0b10_01_00_10, 0b01], [0b00_00_01_01, 0b10]], np.uint8),
            "tensors/fc/levels": np.array([-1, 0, 1], np.float32), "tensors/fc/scale": np.array([0.5], np.float32),
            "tensors/fc/affine": np.array([[0.5, 0.25], [0, 3]], np.float32)}


def test_a_file_made_by_hand_computes_what_it_says(tmp_path):
    """The golden file of format 1.0: if this fails, files that people have are no longer read."""
    held = by_hand()
    digest = 64 * "0"
    hdf5.write(tmp_path / "a.tq.h5", held, {"/": {**ATTRIBUTES, "content_sha256": digest}})
    refused(tmp_path / "a.tq.h5", "content_sha256 differs")
    digest = format._content_sha256(ATTRIBUTES, held)
    hdf5.write(tmp_path / "a.tq.h5", held, {"/": {**ATTRIBUTES, "content_sha256": digest}})
    assert digest == GOLDEN_SHA256
    network = format.read(tmp_path / "a.tq.h5")
    weights = np.array([[1, -1, 0, 1, 0], [0, 0, -1, -1, 1]], np.float32)
    assert np.array_equal(network.tensors["fc"].effective(), 0.5 * weights)
    x = np.array([[1, 2, 3, 4, 5], [-1, 0.5, 8, 2, 0]], np.float32)
    assert FloatNetwork(network)(x).tolist() == (x @ weights.T * [0.5, 0.25] + [0, 3]).tolist()
    assert same(network, format.Packed(network.graph, network.tensors, {}, {}))
    format.write(tmp_path / "b.tq.h5", network)
    assert same(format.read(tmp_path / "b.tq.h5"), network)


GOLDEN_SHA256 = "64766ad02e507fa3c6f671a9f7e1961ccde2d40d4c45a53898a6fa80a2f8d8d6"


def test_the_golden_input_is_what_it_always_was(network):
    x = golden_input(network.graph)
    assert x.shape == (1, *SHAPE) and x.dtype == np.float32 and np.abs(x).max() <= format.GOLDEN_RANGE
    expected = Streams(0).key("golden input").uniform((1, *SHAPE), -2, 2).astype(np.float32)
    assert x.tobytes() == expected.tobytes()


# -- files made to do harm, or damaged ---------------------------------------------------------------------------------

SECRET = b"do not read this"


def soft_link(file, secret):
    file["tensors/2/data"] = h5py.SoftLink("/meta")


def external_link(file, secret):
    file["tensors/2/data"] = h5py.ExternalLink(str(secret), "w")


def external_group(file, secret):
    del file["tensors"]
    file["tensors"] = h5py.ExternalLink(str(secret), "/")


def external_storage(file, secret):
    file.create_dataset("tensors/2/data", (9, 6), "u1", external=[(str(secret), 0, 54)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((9, 6), "u1")
    layout[:] = h5py.VirtualSource(str(secret), "w", (9, 6))
    file.create_virtual_dataset("tensors/2/data", layout)


def compressed(file, secret):
    file.create_dataset("tensors/2/data", (9, 6), "u1", data=np.zeros((9, 6), "u1"), compression="gzip")


def bomb(file, secret):
    file.create_dataset("tensors/2/data", (1 << 40, 1 << 20), "u1", chunks=(1 << 10, 1 << 10))


def compressed_bomb(file, secret):
    file.create_dataset("tensors/2/data", (1 << 36,), "u1", chunks=(1 << 20,), compression="gzip")


def text_bomb(file, secret):
    del file["graph"]
    file.create_dataset("graph", (), f"S{(1 << 31) - 1}")


def other_type(file, secret):
    file["tensors/2/data"] = np.zeros((9, 6), ">u2")


def missing(file, secret):
    pass


def loop(file, secret):
    file["tensors/2/data"] = np.zeros((9, 6), "u1")
    file["tensors/again"] = file["/"]


def object_reference(file, secret):
    file.create_dataset("tensors/2/data", (9, 6), h5py.ref_dtype)


@pytest.mark.parametrize("plant", [soft_link, external_link, external_group, external_storage, virtual, compressed,
                                   bomb, compressed_bomb, text_bomb, other_type, missing, loop, object_reference],
                         ids=lambda plant: plant.__name__)
def test_a_file_that_is_not_what_it_seems_is_refused(path, network, tmp_path, plant):
    assert set(network.tensors) == {"0", "2", "5"}
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file["w"] = np.zeros((9, 6), "u1")
    with h5py.File(path, "a") as file:
        del file["tensors/2/data"]
        plant(file, secret)
    opened, peak = opened_by_reading(path)
    assert opened.count(str(path)) >= 1 and str(secret) not in opened
    assert peak < 64 << 20


def opened_by_reading(path):
    """(files opened, bytes the process grew by) of a process in which reading the file must end as BadInput."""
    script = """if True:
        import resource, sys
        from tinyq.errors import BadInput
        from tinyq.packed.file import format
        opened = []
        sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            format.read(sys.argv[1])
        except BadInput as error:
            assert sys.argv[1] in str(error)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            print(*opened, sep="\\n")
    """
    told = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
    peak, *opened = told.splitlines()
    return opened, int(peak) << 10


def test_a_truncated_file_is_refused(path, written):
    for length in [*range(0, len(written), 997), len(written) - 1]:
        path.write_bytes(written[:length])
        refused(path)


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flipped_byte_changes_what_is_read(tmp_path, step):
    """Any byte of a small file inverted: BadInput, or the same contents (bytes between the objects mean nothing)."""
    held = by_hand()
    path = tmp_path / "a.tq.h5"
    hdf5.write(path, held, {"/": {**ATTRIBUTES, "content_sha256": format._content_sha256(ATTRIBUTES, held)}})
    whole, right = path.read_bytes(), format.read(path)
    outcomes = {"same": 0, "refused": 0}
    for place in range(0, len(whole), step):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF if place // step % 2 else 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert same(format.read(path), right), place
            outcomes["same"] += 1
        except BadInput:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


@pytest.mark.parametrize("name", ["graph", "meta", "tensors/2/data", "tensors/2/levels", "tensors/2/scale",
                                  "tensors/2/affine", "ranges", "golden/float32"])
def test_every_byte_is_hashed(path, network, name):
    with h5py.File(path) as file:
        start, size = file[name].id.get_offset(), file[name].nbytes
    whole = path.read_bytes()
    assert whole[start:start + size] == network.payload()[name].tobytes()
    for place in (0, size // 2, size - 1):
        damaged = bytearray(whole)
        damaged[start + place] ^= 1
        path.write_bytes(damaged)
        refused(path)


@pytest.mark.parametrize("name, value, says", [
    ("format", "keras", "not a packed network"), ("format", 3, "not a packed network"),
    ("format_major", 2, "format 2, but this tinyq reads format 1"), ("format_major", 0, "format 0"),
    ("format_major", "1", "version is missing"), ("format_minor", 1.5, "version is missing"),
    ("format_major", 1 << 60, "install a newer tinyq"),
    ("required_features", "sparse", "needs sparse"), ("required_features", "b a", "needs a, b"),
    ("required_features", 3, "version is missing"), ("required_features", ["a"], "version is missing"),
])
def test_another_version_is_refused(path, network, name, value, says):
    forge(path, network, **{name: value})
    refused(path, says)


def test_a_newer_minor_version_without_new_features_is_read(path, network):
    forge(path, network, format_minor=7)
    assert same(format.read(path), network)


@pytest.mark.parametrize("name", [*ATTRIBUTES, "content_sha256"])
def test_a_missing_attribute_is_refused(path, name):
    with h5py.File(path, "a") as file:
        del file.attrs[name]
    refused(path)


def changed(name, place, value):
    """A dataset with one value changed."""
    def change(network):
        array = network.payload()[name].copy()
        array.reshape(-1)[place] = value
        return {name: array}
    return change


DATA, SCALE, LEVELS, AFFINE = (f"tensors/2/{part}" for part in ("data", "scale", "levels", "affine"))


@pytest.mark.parametrize("change, says", [
    (lambda n: {DATA: None}, "data is missing"), (lambda n: {"graph": None}, "graph is not text"),
    (lambda n: {"meta": None}, "meta is not text"),
    (lambda n: {"graph": np.zeros(3, np.uint8)}, "graph is not text"),
    (lambda n: {"tensors/2/more": np.zeros(3, np.float32)}, "more is not of this model"),
    (lambda n: {"elsewhere": np.zeros(3, np.float32)}, "elsewhere is not of this model"),
    (lambda n: {"golden/int4": np.zeros((1, 4), np.float32)}, "int4 is not of this model"),
    (lambda n: {"constants/a": np.zeros(1, np.float32)}, "constants/a is not of this model"),
    (lambda n: {DATA: n.payload()[DATA].reshape(-1)}, "instead of"),
    (lambda n: {DATA: n.payload()[DATA].view(np.int8)}, "int8"),
    (lambda n: {DATA: n.payload()[DATA][:, :-1]}, "instead of"),
    (lambda n: {SCALE: np.ones(2, np.float32)}, "instead of"), (lambda n: {SCALE: np.ones(1, np.float64)}, "float64"),
    (lambda n: {"ranges": np.zeros((2, 3, 2), np.float32)}, "ranges"),
    (lambda n: {"golden/int8": np.zeros((1, 5), np.float32)}, "golden/int8"),
    (changed(SCALE, 0, np.nan), "holds nan"), (changed(SCALE, 0, np.inf), "holds inf"), (changed(SCALE, 0, 0), "scale"),
    (changed(SCALE, 0, -1), "scale"), (changed(LEVELS, 0, 9), "do not ascend"),
    (changed(LEVELS, 1, -1), "do not ascend"),
    (changed(LEVELS, 0, np.nan), "holds nan"), (changed(AFFINE, 3, np.nan), "holds nan"),
    (changed("ranges", 2, 1e9), "minimum is above"), (changed("ranges", 2, np.inf), "holds inf"),
    (changed("golden/int8", 0, np.nan), "holds nan"),
    (changed(DATA, 0, 255), "is not one of the 7 levels|padding bits"), (changed(DATA, 1, 255), "padding bits"),
])
def test_contents_that_do_not_fit_are_refused(path, network, change, says):
    forge(path, network)
    assert same(format.read(path), network)
    forge(path, network, change(network))
    refused(path, says)


@pytest.mark.parametrize("trits, byte, says", [(False, 0b11, "code 3"), (True, 243, "above 242"),
                                               (True, 255, "above 242")])
def test_codes_outside_the_set_are_refused(tmp_path, trits, byte, says):
    network = small("groups", "ternary", trits=trits)
    path = tmp_path / "a.tq.h5"
    forge(path, network, changed(DATA, 0, byte)(network))
    refused(path, says)


@pytest.mark.parametrize("text", [b"{", b"[1]", b"3", b"null", b"", b"\xff\xfe{}", b'{"a": "\xff"}', b'{"a": NaN}',
                                  b'{"a": Infinity}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000,
                                  b'{"a": ' + b"9" * 10_000 + b"}"], ids=lambda text: repr(text[:9]))
@pytest.mark.parametrize("name", ["graph", "meta"])
def test_text_that_is_no_json_object_is_refused(path, network, name, text):
    forge(path, network, {name: np.array(text or b"\0")})
    refused(path, f"its {name} is not")


def at(*keys, value):
    """Set one value deep in a graph."""
    def change(graph):
        place = graph
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    return change


@pytest.mark.parametrize("change", [
    at("nodes", 1, "operation", value="system"), at("nodes", 0, "operation", value="__import__"),
    at("nodes", 0, "operation", value=["product"]), at("nodes", 0, "operation", value=None),
    at("nodes", 0, "inputs", value=[0]), at("nodes", 0, "inputs", value=[1]), at("nodes", 1, "inputs", value=[-2]),
    at("nodes", 0, "inputs", value=[]), at("nodes", 0, "inputs", value=[None]), at("nodes", 0, "inputs", value=[True]),
    at("nodes", 0, "inputs", value=[-1.0]), at("nodes", 0, "inputs", value="abc"), at("nodes", 0, "inputs", value=7),
    at("nodes", 0, "inputs", value=[{"constant": "a", "shape": [1 << 40]}]),
    at("nodes", 0, "inputs", value=[{"constant": "../../a", "shape": [3]}]),
    at("nodes", 0, "inputs", value=[-1, -1, -1]), at("nodes", 0, "inputs", value=[-1, {"constant": "a", "shape": [1]}]),
    at("nodes", 0, "inputs", value=[-1, None]),
    at("nodes", 0, "shape", value=[6, 9, 8]), at("nodes", 0, "shape", value="abc"), at("nodes", 0, "shape", value=None),
    at("nodes", 0, "params", value=None), at("nodes", 0, "params", value={}), at("nodes", 0, "params", value=[]),
    at("nodes", 0, "params", "relu", value=1), at("nodes", 0, "params", "options", value=None),
    at("nodes", 0, "params", "options", "padding", value=[1 << 40, 1 << 40]),
    at("nodes", 0, "params", "options", "padding", value=[-1, 1]),
    at("nodes", 0, "params", "options", "padding", value=[1.5, 1]),
    at("nodes", 0, "params", "options", "padding", value=[10**400, 1]),
    at("nodes", 0, "params", "options", "stride", value=[0, 1]),
    at("nodes", 0, "params", "options", "dilation", value=["1", 1]),
    at("nodes", 0, "params", "options", "groups", value=0), at("nodes", 0, "params", "options", "groups", value=7),
    at("nodes", 0, "params", "options", "groups", value=[1, 1]),
    at("nodes", 0, "params", "options", "groups", value=1.0),
    at("nodes", 0, "weight", value=None), at("nodes", 0, "weight", "shape", value=[6, 3, 3]),
    at("nodes", 0, "weight", "shape", value=[6, 3, 3, 1 << 40]), at("nodes", 0, "weight", "shape", value=[0, 3, 3, 3]),
    at("nodes", 0, "weight", "shape", value=[6, 3, 3, -3]), at("nodes", 0, "weight", "shape", value=[6, 3, 3, 3.0]),
    at("nodes", 0, "weight", "tensor", value="../graph"), at("nodes", 0, "weight", "tensor", value="2"),
    at("nodes", 0, "weight", "tensor", value=3), at("nodes", 0, "weight", "tensor", value={"a": 1}),
    at("nodes", 0, value=None), at("nodes", 0, value=[]), at("nodes", value=[]), at("nodes", value=None),
    at("nodes", value={}), at("nodes", value=3), at("nodes", value=[{}] * 20_000),
    at("input_shape", value=[3, 9, 10]), at("input_shape", value=[]), at("input_shape", value=[3, 9, 9, 1]),
    at("input_shape", value=[3, 1 << 20, 1 << 20]), at("input_shape", value=[3, -9, -9]), at("input_shape", value=None),
    at("input_shape", value=["3", 9, 9]), at("input_shape", value=3), at("input_shape", value=[[3], 9, 9]),
    at("tensors", value=None), at("tensors", value=[]), at("tensors", value={}), at("tensors", value=["0", "2", "5"]),
    at("tensors", "2", value=None), at("tensors", "2", value={}), at("tensors", "2", "scheme", value="b3"),
    at("tensors", "2", "scheme", value="b1"), at("tensors", "2", "scheme", value=["p3"]),
    at("tensors", "2", "scheme", value="f32"), at("tensors", "2", "scheme", value=None),
    at("tensors", "2", "levels", value=8), at("tensors", "2", "levels", value=1 << 40),
    at("tensors", "2", "levels", value=-1), at("tensors", "2", "levels", value="7"),
    at("tensors", "2", "levels", value=7.5),
    at("tensors", "2", "scales", value=9), at("tensors", "2", "scales", value=None), at("tensors", "9", value={}),
], ids=lambda change: None)
def test_a_graph_that_does_not_fit_together_is_refused(path, network, change):
    forge_graph(path, network, lambda graph: None)
    format.read(path)
    forge_graph(path, network, change)
    refused(path)


NODES = [                               # an operation of one sample (6, 9, 9), node 0's output
    ("pad", {"widths": [[0, 0], [0, 1 << 40], [0, 0]]}, [6, 9 + (1 << 40), 9]),
    ("pad", {"widths": [[0, 0], [1 << 14, 1 << 14], [1 << 14, 1 << 14]]}, [6, 32777, 32777]),
    ("pad", {"widths": [[0, 0], [-1, 0], [0, 0]]}, [6, 8, 9]), ("pad", {"widths": []}, [6, 9, 9]),
    ("pad", {"widths": [[0, 0], [0.5, 0], [0, 0]]}, [6, 9, 9]),
    ("pad", {"widths": [[0], [0], [0]]}, [6, 9, 9]), ("pad", {}, [6, 9, 9]),
    ("reshape", {"shape": [6.0, 81]}, [6, 81]), ("concatenate", {"axis": 0.0}, [6, 9, 9]), ("relu", [], [6, 9, 9]),
    ("reshape", {"shape": [6, 80]}, [6, 80]), ("reshape", {"shape": [-6, -81]}, [-6, -81]),
    ("reshape", {"shape": [10**30, 0]}, [0]), ("reshape", {"shape": "abc"}, [6]),
    ("reshape", {"shape": [1] * 20 + [486]}, [1] * 20 + [486]),
    ("max_pool2d", {"kernel": [0, 0], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False},
     [6, 9, 9]),
    ("max_pool2d", {"kernel": [10**400, 1], "stride": [1, 1], "padding": [10**399, 0], "dilation": [1, 1],
                    "ceil_mode": False}, [6, 10, 9]),
    ("max_pool2d", {"kernel": [3, 3], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": []},
     [6, 7, 7]),
    ("max_pool2d", {"kernel": [3, 3], "stride": [0, 1], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False},
     [6, 9, 9]),
    ("max_pool2d", {"kernel": [3, 3]}, [6, 7, 7]),
    ("avg_pool2d", {"kernel": [3, 3], "stride": [1, 1], "padding": [0, 0], "ceil_mode": False}, [6, 7, 7]),
    ("adaptive_avg_pool2d", {"output_size": [1 << 20, 1 << 20]}, [6, 1 << 20, 1 << 20]),
    ("adaptive_avg_pool2d", {"output_size": [0, 1]}, [6, 0, 1]), ("adaptive_avg_pool2d", {"output_size": 3}, [6, 3, 3]),
    ("concatenate", {"axis": 9}, [6, 9, 9]), ("concatenate", {"axis": -1}, [6, 9, 9]), ("concatenate", {}, [6, 9, 9]),
    ("getitem", {"index": [[0, 0, 1]]}, [0, 9, 9]), ("getitem", {"index": [[0, 6, 0]]}, [6, 9, 9]),
    ("getitem", {"index": [[0, 1, 1]] * 4}, [1, 1, 1]), ("getitem", {"index": 3}, [6, 9, 9]),
    ("batch_norm_inference", {}, [6, 9, 9]), ("batch_norm_inference", {"eps": "x"}, [6, 9, 9]),
    ("batch_norm_inference", {"eps": 1e-5}, [6, 9, 9]),
    ("add", {}, [6, 9, 9]), ("mul", {}, [6, 9, 9]), ("tanh", {}, [6, 9, 8]), ("transpose", {}, [6, 9, 9]),
]


def forge_behind_the_first(path, network, node, arrays=None):
    """A file of the first product and one more node."""
    kept = {name: None for name in network.payload() if name.startswith(("tensors/2", "tensors/5", "golden", "ranges"))}
    graph = json.loads(network.payload()["graph"].item())
    graph = {"input_shape": graph["input_shape"], "nodes": [graph["nodes"][0], node],
             "tensors": {"0": graph["tensors"]["0"]}}
    forge(path, network, {**kept, **(arrays or {}), "graph": np.array(json.dumps(graph).encode())})


@pytest.mark.parametrize("operation, params, shape", NODES, ids=[str(i) for i in range(len(NODES))])
def test_an_operation_that_cannot_be_is_refused(path, network, operation, params, shape):
    forge_behind_the_first(path, network, {"operation": operation, "inputs": [0], "params": params, "shape": shape})
    refused(path)


def constant(*shape):
    return {"constant": "a", "shape": list(shape)}


@pytest.mark.parametrize("operation, inputs, shape, params", [
    ("relu", [0, 0], [6, 9, 9], {}), ("relu", [constant(6, 9, 9)], [6, 9, 9], {}), ("relu", [0, None], [6, 9, 9], {}),
    ("relu", [constant(6, 9, 9), 0], [6, 9, 9], {}), ("add", [0, None], [6, 9, 9], {}), ("add", [0], [6, 9, 9], {}),
    ("add", [0, constant(5, 1, 1, 1)], [5, 6, 9, 9], {}), ("add", [0, constant(5, 9, 9)], [6, 9, 9], {}),
    ("mul", [constant(2, 1), constant(1, 2)], [2, 2], {}), ("add", [0, 0, 0], [6, 9, 9], {}),
    ("concatenate", [0, constant(1, 6, 9, 9)], [12, 9, 9], {"axis": 0}),
    ("batch_norm_inference", [0, None, None, constant(5), constant(5)], [6, 9, 9], {"eps": 1e-5}),
    ("batch_norm_inference", [0, None, None, None, constant(6)], [6, 9, 9], {"eps": 1e-5}),
    ("batch_norm_inference", [None, None, None, constant(6), 0], [6, 9, 9], {"eps": 1e-5}),
    ("batch_norm_inference", [0, 0, 0, 0, 0], [6, 9, 9], {"eps": 1e-5}),
])
def test_inputs_that_an_operation_does_not_take_are_refused(path, network, operation, inputs, shape, params):
    named = [a["shape"] for a in inputs if isinstance(a, dict)]
    arrays = {"constants/a": np.ones(named[0], np.float32)} if named else {}
    forge_behind_the_first(path, network, {"operation": operation, "inputs": inputs, "params": params, "shape": shape},
                           arrays)
    refused(path)


def test_what_stands_behind_the_first_product_is_read_where_it_fits(path, network):
    arrays = {"constants/a": np.ones(6, np.float32)}
    for node, held in (({"operation": "relu", "inputs": [0], "params": {}, "shape": [6, 9, 9]}, {}),
                       ({"operation": "batch_norm_inference", "inputs": [0, None, None, constant(6), constant(6)],
                         "params": {"eps": 1e-5}, "shape": [6, 9, 9]}, arrays)):
        forge_behind_the_first(path, network, node, held)
        assert FloatNetwork(format.read(path))(samples(2, SHAPE)).shape == (2, 6, 9, 9)


def test_one_name_for_two_arrays_is_refused(path, network):
    forge_behind_the_first(path, network, {"operation": "add", "inputs": [0, constant(6, 9, 9)], "params": {},
                                           "shape": [6, 9, 9]}, {"constants/a": np.ones((6, 9, 9), np.float32)})
    format.read(path)
    forge_behind_the_first(path, network, {"operation": "add", "inputs": [constant(6, 9, 9), constant(6, 1, 1)],
                                           "params": {}, "shape": [6, 9, 9]},
                           {"constants/a": np.ones((6, 9, 9), np.float32)})
    refused(path)

    def shared(graph):
        graph["nodes"] = [graph["nodes"][0], graph["nodes"][0]]
        graph["tensors"] = {"0": graph["tensors"]["0"]}

    kept = {name: None for name in network.payload() if name.startswith(("tensors/2", "tensors/5", "golden", "ranges"))}
    graph = json.loads(network.payload()["graph"].item())
    shared(graph)
    forge(path, network, {**kept, "graph": np.array(json.dumps(graph).encode())})
    refused(path, "two arrays have the same name")


@pytest.mark.parametrize("node", [
    {"operation": "adaptive_avg_pool2d", "params": {"output_size": [1 << 13, 1 << 12]}, "shape": [6, 1 << 13, 1 << 12]},
    {"operation": "max_pool2d", "shape": [3, 8192, 8192],
     "params": {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False}},
    {"operation": "relu", "params": {}, "shape": [3, 8192, 8192]}], ids=lambda node: node["operation"])
def test_a_shape_costs_no_memory_before_its_data_are_there(path, network, node):
    inputs = [0] if node["operation"].startswith("adaptive") else [-1]
    graph = {"input_shape": [3, 9, 9] if inputs == [0] else [3, 8192, 8192], "nodes": [], "tensors": {}}
    if inputs == [0]:
        graph["nodes"] = json.loads(network.payload()["graph"].item())["nodes"][:1]
    graph["nodes"].append(node | {"inputs": inputs})
    forge(path, network, {"graph": np.array(json.dumps(graph).encode())})
    assert opened_by_reading(path)[1] < 64 << 20


def growing(count, widths, shapes):
    """A graph that pads its input `count` times."""
    nodes = [{"operation": "pad", "inputs": [i - 1], "params": {"widths": widths}, "shape": shapes(i)}
             for i in range(count)]
    return {"input_shape": [1, 64, 64], "nodes": nodes, "tensors": {}}


HUGE = {
    "a pad": growing(1, [[0, 0], [0, 8128], [0, 8128]], lambda i: [1, 8192, 8192]),
    "many pads": growing(20, [[0, 0], [0, 512], [0, 512]], lambda i: [1, 64 + 512 * (i + 1), 64 + 512 * (i + 1)]),
    "many values": growing(2000, [[0, 0], [0, 0], [0, 1000]], lambda i: [1, 64, 64 + 1000 * (i + 1)]),
    "an input": {"input_shape": [3, 4096, 4096], "nodes": [], "tensors": {}},
}


@pytest.mark.parametrize("graph", HUGE.values(), ids=HUGE)
def test_a_small_file_asks_for_no_large_values(path, network, graph):
    forge(path, network, {"graph": np.array(json.dumps(graph).encode())})
    refused(path, "too (large|many) for a file of this size")
    assert opened_by_reading(path)[1] < 32 << 20


@pytest.mark.parametrize("size", [1 << 31, 1 << 62, 1 << 70])
@pytest.mark.parametrize("operation", ["conv", "max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("what", ["stride", "padding", "dilation", "kernel"])
def test_windows_far_beyond_the_plane_are_refused(path, network, operation, what, size):
    params = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False,
              "count_include_pad": True} | {what: [size, size]}
    graph = json.loads(network.payload()["graph"].item())
    if operation == "conv":
        graph["nodes"][0]["params"]["options"][what] = [size, size]
        if what == "kernel":
            graph["nodes"][0]["weight"]["shape"][2:] = [size, size]
    else:
        graph["nodes"][1:] = [{"operation": operation, "inputs": [0], "params": params, "shape": [6, 1, 1]}]
    forge(path, network, {"graph": np.array(json.dumps(graph).encode())})
    refused(path)


def test_a_network_whose_file_could_not_be_read_is_not_written(tmp_path, network):
    graph = dataclasses.replace(network.graph, input_shape=(3, 4096, 4096))
    with pytest.raises(UsageError, match="cannot be packed: shape .* pack it for a smaller input"):
        format.write(tmp_path / "a.tq.h5", dataclasses.replace(network, graph=graph))
    assert not list(tmp_path.iterdir())
