"""Keyed streams: a draw depends on its name alone; shapes, ranges and moments; the bits of record."""
import hashlib

import numpy as np
import pytest

from tinyq.streams import Streams


def test_the_same_name_gives_the_same_draws_whoever_drew_before():
    streams = Streams(7)
    first = streams.key("augment", 3, 14).normal(100)
    streams.key("augment", 3, 15).normal(1000)
    assert streams.key("augment", 3, 14).normal(100).tobytes() == first.tobytes()
    assert Streams(7).key("augment", 3, 14).normal(100).tobytes() == first.tobytes()


@pytest.mark.parametrize("seed, name", [
    (8, ("augment", 3, 14)), (7, ("order", 3, 14)), (7, ("augment", 31, 4)), (7, ("augment", 3)),
    (7, ("augment", 14, 3)),
])
def test_another_name_gives_other_draws(seed, name):
    assert not np.array_equal(Streams(seed).key(*name).words(4), Streams(7).key("augment", 3, 14).words(4))


def test_a_stream_goes_on():
    stream = Streams(0).key("x")
    both = np.concatenate([stream.uniform(3), stream.uniform(4)])
    assert both.tobytes() == Streams(0).key("x").uniform(7).tobytes()


@pytest.mark.parametrize("shape", [(), 5, (2, 3), (0,), (3, 0), (1,)])
def test_shapes_and_dtypes(shape):
    stream = Streams(0).key("x")
    expected = np.empty(shape).shape
    for draw, dtype in ((stream.uniform, np.float64), (stream.normal, np.float64)):
        assert np.shape(draw(shape)) == expected and np.asarray(draw(shape)).dtype == dtype
    assert np.shape(stream.integers(0, 9, shape)) == expected
    assert np.asarray(stream.integers(0, 9, shape)).dtype == np.int64


def test_uniform_fills_its_range_evenly():
    u = Streams(1).key("x").uniform(100_000, -2, 3)
    assert u.min() >= -2 and u.max() < 3
    counts = np.histogram(u, bins=20, range=(-2, 3))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8                    # chi squared, 19 degrees, 1 in 1,000


def test_normal_has_the_moments_and_tails_of_a_normal():
    z = Streams(2).key("x").normal(200_000)
    assert abs(z.mean()) < 0.01 and abs(z.var() - 1) < 0.02
    assert abs((z**3).mean()) < 0.03 and abs((z**4).mean() - 3) < 0.1
    assert abs((np.abs(z) > 1.959964).mean() - 0.05) < 0.003
    assert np.isfinite(z).all()


def test_normal_of_an_odd_count_begins_like_that_of_the_next_even_one():
    assert len(Streams(0).key("x").normal(7)) == 7


def test_integers_cover_low_to_high_without_high():
    values = Streams(3).key("x").integers(-2, 4, 10_000)
    assert sorted(set(values.tolist())) == [-2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_is_one(n):
    order = Streams(4).key("order", 0).permutation(n)
    assert sorted(order.tolist()) == list(range(n))


def test_every_order_of_three_is_as_likely():
    orders = [tuple(Streams(5).key("order", i).permutation(3).tolist()) for i in range(3000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6 and min(counts) > 400 and max(counts) < 600


def test_streams_of_neighbouring_names_are_not_related():
    a, b = (Streams(6).key("x", i).normal(50_000) for i in (0, 1))
    assert abs((a * b).mean()) < 0.02


def test_the_bits_are_the_ones_of_record():
    stream = Streams(0).key("record", 1, "a")
    drawn = [stream.words(5), stream.uniform(5), stream.normal(5), stream.integers(0, 1000, 5), stream.permutation(5)]
    digest = hashlib.sha256(b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in drawn))
    assert digest.hexdigest() == "634842c78080ef500a5360c0bd172a89e7d601926516c4d24fb35f0e47390deb"


@pytest.mark.parametrize("seed, shape", [(0, (1, 3, 8, 8)), (1, (5,)), (2**63, (1, 1)), (3, (0, 4))])
def test_the_first_numbers_are_the_same_without_numpy_s_generator(seed, shape):
    one, other = Streams(seed).key("a", seed), Streams(seed).key("a", seed)
    assert np.array_equal(one.first_uniform(shape, -2.0, 2.0), other.uniform(shape, -2.0, 2.0))
