"""The interpreter of pickles: every protocol, texts of Python 2, and objects that it does not know."""
import argparse
import collections
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyq.files.foreign import pickles
from tinyq.files.foreign.numpy_pickles import NUMPY, Array, Type
from tinyq.files.foreign.pickle_objects import CONTAINERS, Inert
from tinyq.files.foreign.pickle_texts import Unreadable
from tinyq.files.foreign.pickles import Interpreter

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner))


def load(data, functions=NUMPY):
    return Interpreter(data, functions).load()


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_those_of_the_standard_library(value, protocol):
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("value, read", [
    (set(), []), ({1}, [1]), (frozenset({1}), (1,)), (bytearray(b"ab"), b"ab"), ((1, 2, 3, 4), (1, 2, 3, 4)),
    (1 << 3000, 1 << 3000), ("x" * 70_000, "x" * 70_000), (b"x" * 70_000, b"x" * 70_000),
    ([True, False], [True, False])])
def test_sets_and_long_values_of_the_newest_protocols(value, read):
    assert load(pickle.dumps(value, 5)) == read


def test_what_many_objects_share_is_one_object():
    shared = ["x"]
    for protocol in range(6):
        first, second = load(pickle.dumps([shared, shared], protocol))
        assert first is second


def long_text(code, layout, value):
    return code + struct.pack(layout, len(value)) + value + b"."


@pytest.mark.parametrize("data, value", [
    (b"U\x03abc.", "abc"), (long_text(b"T", "<I", b"abc"), "abc"), (b"S'a\\x41b'\n.", "aAb"), (b'S"q\'"\n.', "q'"),
    (b"U\x02\xff\xfe.", b"\xff\xfe"), (b"S'\\xff'\n.", b"\xff"), (b"S'\\q'\n.", "\\q"), (b"V\\u0041\xe9\n.", "A\xe9"),
    (b"I01\n.", True), (b"I00\n.", False), (b"I-7\n.", -7), (b"L12L\n.", 12), (b"F1.5\n.", 1.5),
    (b"(I1\nI2\nl.", [1, 2]), (b"(I1\nI2\nd.", {1: 2}), (b"I1\n2\x86.", (1, 1)), (b"(I1\n1N.", None),
    (b"I5\np7\n0g7\n.", 5), (b"\x80\x02I5\nr\x01\0\0\0000j\x01\0\0\0.", 5),
    (long_text(b"\x8d", "<Q", b"ab"), "ab"), (long_text(b"\x8e", "<Q", b"ab"), b"ab"), (b"B\x01\0\0\0a.", b"a"),
    (b"\x80\x02K\x01K\x02K\x03\x87.", (1, 2, 3)), (b"\x80\x02}q\x00(K\x01K\x02u.", {1: 2}),
], ids=str)
def test_each_instruction_of_older_protocols(data, value):
    assert load(data) == value


@pytest.mark.parametrize("data, reason", [
    (b"", "ends too early"), (b"V", "ends too early"), (b"\x80\x02X\xff\xff\xff\x7fabc", "ends too early"),
    (b"\x8e" + b"\xff" * 8, "ends too early"), (b"\x80\x02\x97.", "is not one of a pickle of weights"),
    (b"\x80\x02\x820.", "is not one of a pickle of weights"),
    (b"\x80\x02h\x07.", "refers to an object that is missing"),
    (b"\x8b\xff\xff\0\0" + bytes(70_000) + b".", "a number is too long"), (b"Ix\n.", "a number is malformed"),
    (b"L" + b"9" * 5000 + b"\n.", "a number is malformed"), (b"Fx\n.", "a number is malformed"),
    (b"Sabc\n.", "a text is malformed"), (b"S'\\x'\n.", "a text is malformed"), (b"S'\n.", "a text is malformed"),
    (b"V\\u00\n.", "a text is malformed"), (b"\x80\x02X\x01\x00\x00\x00\xff.", "a text is not UTF-8"),
    (b"\x80\x020.", "its stack is empty"), (b"\x80\x02(0.", "its stack is empty"), (b"2.", "its stack is empty"),
    (b"\x80\x02q\x00.", "its stack is empty"), (b"Nb.", "its stack is empty"),
    (b"\x80\x02}}a.", "a list is missing"), (b"N)u.", "a mark is missing"), (b"\x80\x02}t.", "a mark is missing"),
    (b"N(K\x01K\x02u.", "a dict is missing"), (b"\x80\x02}(K\x01u.", "a key has no value"),
    (b"\x80\x04K\x01K\x02\x93.", "a name is not a text"), (b"cos\nsystem\nNR.", "arguments of a call are missing"),
    (b"(o.", "calls something that is not a function"), (b"N)R.", "calls something that is not a function"),
    (b"\x80\x02K\x01Q.", "refers to an object outside the pickle"),
    (b"P7\n.", "refers to an object outside the pickle"),
], ids=str)
def test_a_broken_pickle_is_refused(data, reason):
    with pytest.raises(Unreadable, match=reason):
        load(data, CONTAINERS)


def test_a_pickle_of_endless_parts_is_given_up(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_INSTRUCTIONS", 100)
    with pytest.raises(Unreadable, match="more parts than any checkpoint"):
        load(b"]" * 101 + b".")
    assert load(b"]" * 99 + b".") == []


def test_references_outside_go_through_the_caller():
    assert Interpreter(b"P7\n.", {}, lambda reference: ("found", reference)).load() == ("found", "7")
    assert Interpreter(b"K\x07Q.", {}, lambda reference: ("found", reference)).load() == ("found", 7)


class Own:
    """A class that the reader does not know."""

    def __init__(self):
        self.rate = 0.1


class OwnDict(dict):
    """A dict that the reader does not know."""


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_unknown_is_inert_and_keeps_its_items(protocol):
    held = [Own(), OwnDict(a=1), argparse.Namespace(lr=1), collections.Counter([3]), collections.deque([1]),
            np.float64(2)]
    own, items, *others = load(pickle.dumps(held, protocol), CONTAINERS)
    assert isinstance(own, Inert) and items["a"] == 1 and all(isinstance(other, Inert) for other in others)
    assert load(b"ccopy_reg\n_reconstructor\n(NNNtR.", CONTAINERS).name == "an unknown class"
    if protocol >= 2:
        assert own.name == f"{__name__}.Own" and own.state == {"rate": 0.1}


def test_old_ways_to_make_objects_are_inert_too():
    assert load(b"(S'run'\nios\nsystem\n.").name == "os.system"
    assert load(b"(cos\nsystem\nS'run'\no.").name == "os.system"
    assert load(b"cos\nsystem\n)}\x92.").name == "os.system"
    assert load(b"cos\nsystem\n(I1\nI2\ne.").name == "os.system"               # a list of its own kind


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_ordered_and_default_dicts_are_dicts(protocol):
    default = collections.defaultdict(list, {1: [2]})
    assert load(pickle.dumps([collections.OrderedDict(a=1), default], protocol), CONTAINERS) == [{"a": 1}, {1: [2]}]
    pairs = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01]q\x02(U\x01aK\x01ea\x85Rq\x03."          # of Python 2
    assert load(pairs, CONTAINERS) == {"a": 1}
    assert load(b"ccollections\nOrderedDict\n(}I1\nI2\nstR.", CONTAINERS) == {1: 2}
    with pytest.raises(Unreadable, match="an OrderedDict is made of pairs"):
        load(b"ccollections\nOrderedDict\n((I1\nltR.", CONTAINERS)


def test_keys_that_are_no_text_or_number_are_kept_apart():
    found = load(pickle.dumps({(1, 2): "a", (3, 4): "b", "c": 1}, 2))
    assert sorted(map(str, found.values())) == ["1", "a", "b"] and found["c"] == 1


ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
          np.arange(3, dtype=">i2"), np.array(7, np.int64), np.array([True, False]), np.zeros((0, 3), np.uint8)]


@pytest.mark.parametrize("protocol", [0, 2, 3, 5])
def test_arrays_of_numpy_come_back(protocol):
    for array in ARRAYS:
        found = load(pickle.dumps(array, protocol))
        assert isinstance(found, Array)
        np.testing.assert_array_equal(found.values, array)
        assert found.values.dtype == array.dtype


def test_a_scalar_of_numpy_is_inert():
    assert load(pickle.dumps(np.float64(93.1), 2)).name == "numpy.scalar"


def test_arrays_of_texts_and_objects_have_no_values():
    for array in (np.array(["a"]), np.array([None]), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4")])):
        found = load(pickle.dumps(array, 2))
        assert isinstance(found, Array) and found.values is None
    assert Type("nonsense").dtype is Type(3).dtype is Type("q!").dtype is None


def test_an_array_of_python_2_keeps_bytes_that_are_a_text_or_not():
    for held in (b"\x80\xff\x01", b"abc"):
        data = (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x03\x85"
                b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03"
                + held + b"tb.")
        assert load(data).values.tobytes() == held


@pytest.mark.parametrize("state, reason", [
    (b"K\x01", "the state of a NumPy array is malformed"),
    (b"(K\x01Ncnumpy\ndtype\nU\x02u1\x85R\x89U\x03abct", "the shape of a NumPy array is malformed"),
    (b"(K\x01K\x04\x85cnumpy\ndtype\nU\x02u1\x85R\x89U\x03abct", "the bytes of a NumPy array do not fit its shape")])
def test_a_broken_array_is_refused(state, reason):
    with pytest.raises(Unreadable, match=reason):
        load(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R" + state + b"b.")


@pytest.mark.parametrize("arguments", [b"N\x85", b"X\x01\0\0\0aX\x03\0\0\0utf\x86", b"X\x03\0\0\0\xe2\x82\xac\x85"])
def test_bytes_that_are_not_written_as_latin_1_are_refused(arguments):
    with pytest.raises(Unreadable):
        load(b"\x80\x02c_codecs\nencode\n" + arguments + b"R.")
