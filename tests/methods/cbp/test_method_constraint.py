"""CBP's constraint function against a table worked out by hand, and against its defining properties."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq.levels import NAMED, parse
from tinyq.methods.cbp.constraint import CLOSED, sawtooth

# (set, scale a, window parameter g): [(w, cs, cs')], by the rules of methods/README.md, section 1
BY_HAND = {
    # q = -1, 1; the one tent has height 2 at 0
    ("binary", 1.0, 1): [(-1.5, 1, -2), (-1, 0, 0), (-0.5, 0, 0), (0, 0, 0), (0.75, 0, 0), (1, 0, 2), (1.5, 1, 2)],
    ("binary", 1.0, 2): [(-2, 2, -2), (-1, 0, 2), (-0.75, 0.5, 2), (-0.5, 1, 0), (-0.25, 0, 0), (0, 0, 0),
                         (0.25, 0, 0), (0.5, 1, -2), (0.75, 0.5, -2), (1, 0, 2), (1.5, 1, 2)],
    ("binary", 1.0, 4): [(-0.375, 1.25, 2), (-0.25, 1.5, 0), (0, 0, 0), (0.125, 0, 0), (0.25, 1.5, -2),
                         (0.375, 1.25, -2)],
    ("binary", 1.0, CLOSED): [(-0.25, 1.5, 2), (0, 2, -2), (0.25, 1.5, -2)],
    ("binary", 0.25, 2): [(-0.5, 0.5, -2), (-0.25, 0, 2), (-0.1875, 0.125, 2), (-0.125, 0.25, 0), (0, 0, 0),
                          (0.125, 0.25, -2), (0.25, 0, 2), (0.5, 0.5, 2)],
    # q = -1, 0, 1; two tents of height 1 at -1/2 and 1/2
    ("ternary", 1.0, 1): [(-1.25, 0.5, -2), (-1, 0, 0), (-0.5, 0, 0), (0, 0, 0), (0.5, 0, 0), (1, 0, 2), (2, 2, 2)],
    ("ternary", 1.0, 2): [(-1.5, 1, -2), (-1, 0, 2), (-0.875, 0.25, 2), (-0.75, 0.5, 0), (-0.5, 0, 0),
                          (-0.25, 0.5, -2), (-0.125, 0.25, -2), (0, 0, 2), (0.125, 0.25, 2), (0.25, 0.5, 0),
                          (0.5, 0, 0), (0.75, 0.5, -2), (0.875, 0.25, -2), (1, 0, 2), (1.25, 0.5, 2)],
    ("ternary", 0.5, 4): [(-0.25, 0, 0), (-0.1875, 0.375, -2), (0.125, 0.25, 2), (0.1875, 0.375, 0), (0.25, 0, 0),
                          (0.3125, 0.375, -2), (0.375, 0.25, -2), (0.5, 0, 2), (1, 1, 2)],
    ("ternary", 1.0, CLOSED): [(-0.5, 1, -2), (0.25, 0.5, 2), (0.5, 1, -2), (0.75, 0.5, -2), (1, 0, 2)],
    # q = -1/2, -1/4, 0, 1/4, 1/2; four tents of height 1/4
    ("shift1", 0.5, 1): [(-0.75, 0.5, -2), (-0.5, 0, 0), (-0.25, 0, 0), (0.125, 0, 0), (0.25, 0, 0), (0.5, 0, 2)],
    ("shift1", 0.5, 2): [(-0.4375, 0.125, 0), (-0.375, 0, 0), (-0.3125, 0.125, -2), (0, 0, 2), (0.03125, 0.0625, 2),
                         (0.0625, 0.125, 0), (0.125, 0, 0), (0.1875, 0.125, -2), (0.25, 0, 2), (0.3125, 0.125, 0),
                         (0.4375, 0.125, -2), (0.46875, 0.0625, -2), (0.5, 0, 2), (0.625, 0.25, 2)],
    ("shift1", 0.5, CLOSED): [(-0.375, 0.25, -2), (0.0625, 0.125, 2), (0.125, 0.25, -2), (0.3125, 0.125, 2)],
    # q = -1, -1/2, -1/4, 0, 1/4, 1/2, 1; tents of height 1/2, 1/4, 1/4, 1/4, 1/4, 1/2
    ("shift2", 1.0, 1): [(-1.5, 1, -2), (-1, 0, 0), (-0.75, 0, 0), (0, 0, 0), (0.3125, 0, 0), (1, 0, 2)],
    ("shift2", 1.0, 2): [(-0.875, 0.25, 0), (-0.75, 0, 0), (-0.625, 0.25, -2), (-0.5, 0, 2), (-0.4375, 0.125, 0),
                         (-0.3125, 0.125, -2), (0.0625, 0.125, 0), (0.1875, 0.125, -2), (0.3125, 0.125, 0),
                         (0.4375, 0.125, -2), (0.5, 0, 2), (0.625, 0.25, 0), (0.75, 0, 0), (0.875, 0.25, -2),
                         (0.9375, 0.125, -2), (1, 0, 2), (1.125, 0.25, 2)],
    # q = -1/2, 0, 1; tents of height 1/2 at -1/4 and 1 at 1/2
    ("-1,0,2", 0.5, 1): [(-0.75, 0.5, -2), (-0.5, 0, 0), (-0.25, 0, 0), (0, 0, 0), (0.5, 0, 0), (1, 0, 2), (1.5, 1, 2)],
    ("-1,0,2", 0.5, 2): [(-0.75, 0.5, -2), (-0.5, 0, 2), (-0.4375, 0.125, 2), (-0.375, 0.25, 0), (-0.25, 0, 0),
                         (-0.125, 0.25, -2), (0, 0, 2), (0.125, 0.25, 2), (0.25, 0.5, 0), (0.5, 0, 0), (0.75, 0.5, -2),
                         (1, 0, 2), (1.25, 0.5, 2)],
    ("-1,0,2", 0.5, CLOSED): [(-0.375, 0.25, 2), (-0.25, 0.5, -2), (0.25, 0.5, 2), (0.5, 1, -2), (0.75, 0.5, -2)],
    ("shift2", 1.0, CLOSED): [(-0.75, 0.5, -2), (0.125, 0.25, -2), (0.375, 0.25, -2), (0.625, 0.25, 2),
                              (0.75, 0.5, -2)],
}


def of(name, scale, g, dtype=np.float64):
    return sawtooth(dtype(scale) * parse(name).values.astype(dtype), g)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, scale, g", BY_HAND)
def test_the_table_worked_out_by_hand(name, scale, g, dtype):
    w, cs, slope = np.array(BY_HAND[name, scale, g], dtype).T
    ours = of(name, scale, g, dtype)(w)
    assert [a.dtype for a in ours] == [dtype, dtype]
    assert ours[0].tolist() == cs.tolist()
    assert ours[1].tolist() == slope.tolist()


SETS = st.sampled_from([*sorted(NAMED), "-1,0,2"])
WEIGHTS = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=30)
WINDOWS = st.sampled_from([*range(1, 11), 20, 30, 1000, CLOSED])


@settings(deadline=None)
@given(SETS, WEIGHTS, WINDOWS, st.floats(2**-6, 1, width=32), st.sampled_from([np.float32, np.float64]))
def test_cs_is_never_negative_and_its_slope_is_one_of_three(name, w, g, scale, dtype):
    cs, slope = of(name, scale, g, dtype)(np.array(w, dtype))
    assert (cs >= 0).all()
    assert set(slope.tolist()) <= {-2, 0, 2}


@settings(deadline=None)
@given(SETS, WEIGHTS, WINDOWS)
def test_cs_is_twice_the_distance_to_the_nearest_level_or_nothing(name, w, g):
    w = np.array(w, np.float64)
    cs, slope = of(name, 1.0, g)(w)
    twice = 2 * parse(name).distance(w)
    assert ((cs == 0) | (np.abs(cs - twice) < 1e-12)).all()
    assert (cs[slope != 0] == twice[slope != 0]).all()


@settings(deadline=None)
@given(SETS, WEIGHTS, st.integers(1, 30))
def test_a_larger_g_only_narrows_the_window(name, w, g):
    w = np.array(w, np.float64)
    wide, narrow = of(name, 1.0, g)(w)[1], of(name, 1.0, g + 1)(w)[1]
    assert (narrow[wide != 0] == wide[wide != 0]).all()


@pytest.mark.parametrize("name", [*NAMED, "-1,0,2"])
@pytest.mark.parametrize("g", [1, 2, 3, 10, CLOSED])
def test_the_slope_is_the_derivative_between_the_edges(name, g):
    tooth = of(name, 0.7, g)
    edges = np.concatenate([tooth.levels, tooth.rise_end, tooth.fall_start])
    w, step = np.linspace(-1.2, 1.2, 1201) + 1e-5, 1e-6
    w = w[np.abs(w[:, None] - edges).min(axis=1) > 2 * step]
    difference = (tooth(w + step)[0] - tooth(w - step)[0]) / (2 * step)
    np.testing.assert_allclose(difference, tooth(w)[1], atol=1e-8)


@pytest.mark.parametrize("name", [*NAMED, "-1,0,2"])
def test_no_gap_and_no_overlap_when_the_window_is_closed(name):
    for scale in np.random.default_rng(0).uniform(0.01, 1, 50).astype(np.float32):
        w = np.linspace(-1, 1, 2001, dtype=np.float32)
        cs = of(name, scale, CLOSED, np.float32)(w)[0]
        np.testing.assert_allclose(cs, 2 * scale * parse(name).distance(w, scale), rtol=0, atol=3e-7)
