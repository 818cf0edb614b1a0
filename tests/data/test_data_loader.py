"""The loader: order, resuming, threads that end, errors that arrive."""
import gc
import threading
import time

import numpy as np
import pytest

from tinyq import data
from tinyq.errors import BadInput
from tinyq.streams import Streams


def images(n=50, padding=2, flip=True):
    pixels = np.random.Generator(np.random.Philox(0)).integers(0, 256, (n, 1, 9, 8), np.uint8)
    return data.ImageArray(pixels, np.arange(n) % 10, (0.5,), (0.25,), padding=padding, flip=flip)


def bits(batches):
    return [(b.x.tobytes(), b.y.tobytes(), b.indices.tobytes()) for b in batches]


def loading_threads():
    return [t for t in threading.enumerate() if t.name.startswith("tinyq-data")]


@pytest.mark.parametrize("augment", [False, True])
def test_any_number_of_threads_gives_the_same_bits(augment):
    loaders = [data.Loader(images(), 8, Streams(3), shuffle=True, augment=augment, workers=j) for j in (0, 1, 2, 7)]
    epochs = [bits(loader.epoch(5)) for loader in loaders]
    assert len(epochs[0]) == 7 and all(epoch == epochs[0] for epoch in epochs)


def test_every_sample_comes_once_in_an_order_keyed_by_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate([b.indices for b in data.Loader(images(), 8, Streams(seed), shuffle=True).epoch(epoch)])

    assert sorted(order(0, 0)) == list(range(50))
    np.testing.assert_array_equal(order(0, 1), order(0, 1))
    assert (order(0, 0) != order(0, 1)).any() and (order(0, 0) != order(1, 0)).any()


def test_without_shuffling_the_order_is_that_of_the_split():
    batches = list(data.Loader(images(), 16).epoch())
    np.testing.assert_array_equal(np.concatenate([b.indices for b in batches]), np.arange(50))
    np.testing.assert_array_equal(batches[1].y, np.arange(16, 32) % 10)
    assert batches[0].x.dtype == np.float32 and batches[0].y.dtype == np.int64 and batches[0].indices.dtype == np.int64


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("start", [0, 1, 6, 7])
def test_an_epoch_goes_on_where_it_was_left(start, workers):
    loader = data.Loader(images(), 8, Streams(0), shuffle=True, augment=True, workers=workers)
    assert bits(loader.epoch(2, start)) == bits(loader.epoch(2))[start:]


@pytest.mark.parametrize("n, batch_size, expected", [(50, 8, [8] * 6 + [2]), (48, 8, [8] * 6), (3, 8, [3]),
                                                     (49, 8, [8] * 5 + [9]), (3, 2, [3]), (1, 8, [1]), (3, 1, [1] * 3)])
def test_lengths_of_batches(n, batch_size, expected):
    loader = data.Loader(images(n), batch_size)
    assert [len(b.y) for b in loader.epoch()] == expected and len(loader) == len(expected)
    assert loader.smallest == min(expected[-1:]) and loader.samples(0, len(expected)) == n
    assert [loader.samples(k) for k in range(len(expected))] == expected


def test_a_sample_is_augmented_by_its_index_not_by_its_place_in_a_batch():
    dataset, draws = images(), data.Draws(Streams(0), 4)
    x, _ = dataset.batch(np.arange(50), draws)
    some = np.array([30, 2, 30])
    np.testing.assert_array_equal(dataset.batch(some, draws)[0], x[some])


def test_a_batch_of_which_skipped_images_leave_one_is_passed_over():
    class Skipping(Slow):
        def batch(self, indices, draws=None):
            self.skipped[6] = "broken"
            left = np.setdiff1d(indices, [6])
            return np.zeros((len(left), 1), np.float32), self.labels[left]

    assert [b.indices.tolist() for b in data.Loader(Skipping(), 2).epoch()] == [[0, 1], [2, 3], [4, 5], [], [8, 9]]


class Slow:
    """Ten samples whose batches note how far preparation has come; index 6 cannot be read."""

    def __init__(self, bad=6):
        self.labels, self.skipped, self.bad, self.begun = np.zeros(10, np.int64), {}, bad, 0

    def __len__(self):
        return 10

    def batch(self, indices, draws=None):
        self.begun += 1
        if self.bad in indices:
            raise BadInput("sample 6 is broken")
        return np.zeros((len(indices), 1), np.float32), self.labels[indices]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_error_arrives_at_its_batch_and_not_before(workers):
    batches = data.Loader(Slow(), 1, workers=workers).epoch()
    assert [int(next(batches).indices[0]) for _ in range(6)] == list(range(6))
    with pytest.raises(BadInput, match="sample 6 is broken"):
        next(batches)
    assert not loading_threads()


@pytest.mark.parametrize("workers", [1, 3])
def test_preparation_runs_ahead_by_a_bounded_number_of_batches(workers):
    dataset = Slow(bad=None)
    batches = data.Loader(dataset, 1, workers=workers).epoch()
    next(batches)
    time.sleep(0.05)
    assert dataset.begun <= 2 * workers
    batches.close()


def test_threads_end_when_the_iterator_is_dropped_finished_or_closed():
    for end in (lambda it: it.close(), list, lambda it: None):
        batches = data.Loader(images(), 4, workers=3).epoch()
        next(batches)
        assert loading_threads()
        end(batches)
        del batches
        gc.collect()
        assert not loading_threads()


def test_no_thread_is_started_without_workers():
    batches = data.Loader(images(), 4).epoch()
    next(batches)
    assert not loading_threads()


def test_a_split_without_samples_has_no_batches():
    empty = data.Table(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert list(data.Loader(empty, 4, Streams(0), shuffle=True).epoch()) == []
