"""The set as data: nearest level, ties, codes, and what is refused."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq.errors import UsageError
from tinyq.levels import NAMED, LevelSet, parse, rounded_down, set_of

SETS = [*NAMED.values(), parse("-2,-1,0,1,2"), parse("0.3,-0.1,0.7")]
floats32 = st.floats(-4, 4, width=32)


@pytest.mark.parametrize("name, levels, bits", [
    ("binary", (-1, 1), 1),
    ("ternary", (-1, 0, 1), 2),
    ("shift1", (-1, -0.5, 0, 0.5, 1), 3),
    ("shift2", (-1, -0.5, -0.25, 0, 0.25, 0.5, 1), 3),
])
def test_the_named_sets(name, levels, bits):
    assert parse(name) is NAMED[name]
    assert parse(name).levels == levels
    assert parse(name).bits == bits


def test_a_list_is_sorted_and_has_no_minus_zero():
    level_set = parse("1,-0,-1.5")
    assert level_set.levels == (-1.5, 0.0, 1.0)
    assert not np.signbit(level_set.values[1])


@pytest.mark.parametrize("count, bits", [(2, 1), (3, 2), (4, 2), (5, 3), (16, 4), (17, 5), (255, 8), (256, 8)])
def test_bits_hold_every_code(count, bits):
    level_set = LevelSet("many", tuple(range(count)))
    assert level_set.bits == bits
    assert level_set.codes(level_set.values).tolist() == list(range(count))


@pytest.mark.parametrize("text, words", [
    ("ternery", "did you mean 'ternary'"),
    ("", "no such set"),
    ("-1,,1", "no such set"),
    ("1", "at least two"),
    ("1,1", "distinct"),
    ("nan,1", "finite"),
    ("inf,1", "finite"),
    ("1e39,1", "float32"),
    ("0.1,0.1000000001", "float32"),
    (",".join(map(str, range(257))), "257 given"),
])
def test_what_is_not_a_set_is_refused_with_the_reason(text, words):
    with pytest.raises(UsageError, match=words):
        parse(text)


def test_levels_out_of_order_are_refused():
    with pytest.raises(UsageError):
        LevelSet("x", (1.0, -1.0))


@pytest.mark.parametrize("level_set", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 0.25, 0.037])
def test_nearest_is_nearest(level_set, dtype, scale):
    w = np.linspace(-3, 3, 4001, dtype=dtype)
    shown = level_set.nearest(w, scale)
    assert shown.dtype == dtype
    every = np.abs(w[:, None].astype(np.float64) / scale - level_set.values)
    chosen = np.abs(w.astype(np.float64) / scale - level_set.values[level_set.codes(w, scale)])
    np.testing.assert_allclose(chosen, every.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(level_set.distance(w, scale), every.min(axis=1), atol=1e-12)


@pytest.mark.parametrize("level_set", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tie_goes_to_the_lower_level_and_the_next_number_to_the_upper(level_set, dtype):
    exact = [m for m in level_set.midpoints if dtype(m) == m]
    for j in (list(level_set.midpoints).index(m) for m in exact):
        tie = np.array([level_set.midpoints[j]], dtype)
        assert level_set.codes(tie)[0] == j
        assert level_set.codes(np.nextafter(tie, dtype(np.inf)))[0] == j + 1


@settings(deadline=None)
@given(st.lists(floats32, min_size=1, max_size=20), st.floats(2**-10, 2, width=32), st.sampled_from(SETS))
def test_float32_weights_get_the_codes_of_the_float64_comparison(w, scale, level_set):
    w = np.array(w, np.float32)
    scale = np.float32(scale)
    expected = (w.astype(np.float64)[:, None] > np.float64(scale) * level_set.midpoints).sum(axis=1)
    assert level_set.codes(w, scale).tolist() == expected.tolist()


@settings(deadline=None)
@given(st.floats(-1e30, 1e30), floats32)
def test_rounded_down_keeps_every_comparison(x, w):
    assert (np.float32(w) > rounded_down(x, np.float32)) == (w > x)


def test_a_scale_for_each_filter_broadcasts():
    w = np.array([[0.3, 0.6], [0.3, 0.6]], np.float32)
    scale = np.array([[1.0], [0.5]], np.float32)
    assert parse("ternary").codes(w, scale).tolist() == [[1, 2], [2, 2]]
    assert parse("ternary").nearest(w, scale).tolist() == [[0, 1], [1, 1]]


def test_codes_are_bytes_of_any_shape():
    codes = parse("ternary").codes(np.zeros((2, 0, 3), np.float32))
    assert codes.dtype == np.uint8 and codes.shape == (2, 0, 3)
    assert parse("ternary").codes(0.7).shape == ()


@pytest.mark.parametrize("text, sets", [
    ("conv2=shift1,fc1=binary,*=ternary", {"conv2": "shift1", "fc1": "binary", "*": "ternary"}),
    ("fc1=-1,0,2,*=ternary", {"fc1": "-1,0,2", "*": "ternary"}),
    ("*=2,0.1,-0.5", {"*": "-0.5,0.1,2"}),
    (" conv2 = Shift1 , * = 1, 0, -1 ", {"conv2": "shift1", "*": "ternary"}),
])
def test_a_text_with_an_equals_sign_has_a_set_for_each_layer(text, sets):
    found = parse(text)
    assert {pattern: level_set.name for pattern, level_set in found.sets.items()} == sets
    assert parse(found.name) == found


def test_a_name_beats_a_pattern_and_each_of_them_the_rest():
    found = parse("layer*=shift1,layer1.0=binary,*=ternary")
    assert [found.of(f"{layer}.weight").name for layer in ("layer1.0", "layer1.1", "layer2.0.conv", "fc")] == [
        "binary", "shift1", "shift1", "ternary"]
    assert parse("shift2").of("anything.weight") is NAMED["shift2"]


@pytest.mark.parametrize("text, words", [
    ("ternary,fc1=binary", r"ternary names no layer; write \*=ternary"),
    ("=binary", "=binary names no layer; write layer=set"),
    ("fc1=binary,fc1=ternary", "fc1 is given twice"),
    ("fc1=binery", "levels fc1=binery: no such set; did you mean 'binary'"),
    ("fc1=,fc2=binary", "levels fc1=: no such set"),
    ("fc1=1,*=binary", "at least two"),
])
def test_what_gives_no_sets_to_layers_is_refused_with_the_reason(text, words):
    with pytest.raises(UsageError, match=words):
        parse(text)


def test_a_layer_without_a_set_or_with_two_is_refused_with_a_remedy():
    with pytest.raises(UsageError, match=r"fc2 has no set; add \*=ternary"):
        parse("fc1=binary").of("fc2.weight")
    with pytest.raises(UsageError, match=r"fc\* and \*1 contradict each other, because both fit fc1; add fc1=binary"):
        parse("fc*=shift1,*1=binary").of("fc1.weight")
    assert parse("fc*=shift1,*1=shift1").of("fc1.weight") is NAMED["shift1"]


def test_a_set_is_found_by_its_own_name_in_any_case(monkeypatch):
    monkeypatch.setitem(NAMED, "Wide", LevelSet("Wide", (-3.0, 0.0, 3.0)))
    assert parse("Wide").levels == (-3, 0, 3) and parse("SHIFT1") is NAMED["shift1"]
    assert parse("fc1=Wide,*=Ternary").of("fc1.weight").name == "Wide"


def test_a_set_is_known_by_its_levels():
    assert parse("-1,0,1") is NAMED["ternary"]
    assert set_of((-1.0, float(np.float32(0.1)), 2.0)).name == "-1,0.1,2"
