"""Crops, flips, resizing, colour: what is drawn, and which pixels come out."""
import dataclasses
import math

import numpy as np
import PIL
import pytest
from PIL import Image

from tinyq.data import views
from tinyq.data.draws import Draws, below
from tinyq.data.images.resample import resize
from tinyq.data.transforms import normalise, random_crop_flip
from tinyq.data.views import (
    CentreView,
    RandomCropView,
    RandomResizedView,
    colour_jitter,
    random_box,
    reduced_box,
    shorter_side_to,
)
from tinyq.streams import Streams


def photo(h, w, seed=0):
    """Noise with an unused fourth byte."""
    return np.random.Generator(np.random.Philox(seed)).integers(0, 256, (h, w, 4), np.uint8)


class Whole:
    """A photograph that is there already."""

    def __init__(self, image):
        self.image, self.shape = image, image.shape[:2]

    def pixels(self, smallest=None):
        return self.image


class Halved(Whole):
    """One of which every second pixel is decoded."""

    def pixels(self, smallest=None):
        return np.ascontiguousarray(self.image[::2, ::2])


def smooth(h, w):
    rows, columns = np.mgrid[:h, :w]
    return np.stack([rows * 255 // h, columns * 255 // w, (rows + columns) % 256, rows * 0], -1).astype(np.uint8)


@pytest.mark.parametrize("source", [(1, 1), (7, 5), (33, 64), (375, 500), (20, 400)])
@pytest.mark.parametrize("target", [(1, 1), (8, 8), (40, 29), (224, 224)])
def test_resize_gives_the_bits_of_pillow(source, target):
    image = photo(*source)
    expected = np.asarray(Image.fromarray(image, "RGBX").resize(target[::-1], Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(image, target)[..., :3], expected[..., :3])


TALL = [((641, 320), (512, 256)), ((640, 320), (512, 256)), ((685, 320), (548, 256)), ((900, 400), (224, 224)),
        ((800, 400), (224, 224)), ((400, 400), (100, 350)), ((90, 40), (180, 80)), ((100, 300), (20, 280))]


@pytest.mark.parametrize("source, target", TALL)
def test_columns_are_resized_first_whatever_the_installed_pillow_does(source, target):
    """One direction at a time Pillow has no choice; Pillow 13 resizes rows first where that is cheaper."""
    (height, width), image = target, Image.fromarray(photo(*source), "RGBX")

    def resized(*sizes):
        result = image
        for size in sizes:
            result = result.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(result)[..., :3]

    ours = resize(np.asarray(image), target)[..., :3]
    np.testing.assert_array_equal(ours, resized((width, source[0]), (width, height)))
    installed, rows_first = resized((width, height)), resized((source[1], height), (width, height))
    may_begin_with_rows = int(PIL.__version__.partition(".")[0]) >= 13
    assert np.array_equal(installed, ours) or may_begin_with_rows and np.array_equal(installed, rows_first)
    assert np.abs(ours.astype(int) - installed).max() <= 1


def test_a_box_of_the_result_is_cut_from_it_without_computing_the_rest():
    image = photo(50, 70)
    whole = resize(image, (40, 30))
    np.testing.assert_array_equal(resize(image, (40, 30), (5, 7, 20, 11)), whole[5:25, 7:18])


def test_the_centre_view_is_torchvision_s_resize_and_centre_crop():
    for h, w in ((100, 60), (60, 100), (61, 61)):
        image = smooth(h, w)
        height, width = shorter_side_to(32, (h, w))
        assert min(height, width) == 32 and (height, width) == (int(32 * h / min(h, w)), int(32 * w / min(h, w)))
        full = Image.fromarray(image, "RGBX").resize((width, height), Image.Resampling.BILINEAR)
        top, left = int(round((height - 28) / 2.0)), int(round((width - 28) / 2.0))
        expected = np.asarray(full)[top:top + 28, left:left + 28, :3]
        np.testing.assert_array_equal(CentreView(28, 32)(Whole(image)), expected)


def test_normalise_is_exact_and_contiguous_for_any_layout():
    images = photo(6, 5).transpose(2, 0, 1)[None, :3]
    got = normalise(images, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), top=16)
    for c, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.6), (0.3, 0.7))):
        expected = (images[:, c].astype(np.float32) / np.float32(16) - np.float32(mean)) / np.float32(std)
        np.testing.assert_array_equal(got[:, c], expected)
    assert got.dtype == np.float32 and got.flags.c_contiguous


def test_each_image_is_cut_where_its_own_words_say():
    images = photo(9, 8).transpose(2, 0, 1)[:, None]        # four grey images
    words = Streams(0).key("test").words(12).reshape(4, 3)
    got = random_crop_flip(images, words, padding=2, flip=True)
    for image, word, result in zip(images, words, got, strict=True):
        top, left = (int(below(word[k], 5)) for k in (0, 1))
        expected = np.pad(image, ((0, 0), (2, 2), (2, 2)))[:, top:top + 9, left:left + 8]
        np.testing.assert_array_equal(result, expected[..., ::-1] if int(word[2]) & 1 else expected)


@pytest.mark.parametrize("padding, flip", [(0, False), (0, True), (3, False)])
def test_augmentation_leaves_its_input_alone(padding, flip):
    images = photo(6, 6).transpose(2, 0, 1)[:, None].copy()
    before = images.copy()
    got = random_crop_flip(images, Streams(1).key("test").words(12).reshape(4, 3), padding, flip)
    got += 1
    np.testing.assert_array_equal(images, before)


def test_every_shift_and_both_sides_occur_equally_often():
    words = Streams(2).key("test").words(30000).reshape(-1, 3)
    shifts = below(words[:, 0], 9)
    counts = np.bincount(shifts, minlength=9)
    assert len(counts) == 9 and counts.min() > 0.9 * 10000 / 9 and counts.max() < 1.1 * 10000 / 9
    assert 0.48 < np.mean(words[:, 2] & np.uint64(1)) < 0.52


def test_below_reaches_its_ends():
    ends = np.array([0, 2**64 - 1], np.uint64)
    assert below(ends, 7).tolist() == [0, 6]


def test_words_are_found_by_seed_epoch_and_index_alone():
    a, b = Draws(Streams(0), 3), Draws(Streams(0), 3)
    a.words(np.array([7, 1]), 10, 2)
    np.testing.assert_array_equal(a.words(np.array([5]), 10, 2), b.words(np.arange(10), 10, 2)[5:6])
    assert (Draws(Streams(0), 4).words(np.arange(10), 10, 2) != b.words(np.arange(10), 10, 2)).all()
    assert (Draws(Streams(1), 3).words(np.arange(10), 10, 2) != b.words(np.arange(10), 10, 2)).all()


def test_random_boxes_lie_inside_and_have_the_area_and_shape_asked_for():
    stream = Streams(0).key("test")
    areas, aspects = [], []
    for _ in range(500):
        top, left, h, w = random_box((300, 400), stream.uniform((10, 4)).tolist(), 0.08)
        assert 0 <= top <= 300 - h and 0 <= left <= 400 - w and h > 0 and w > 0
        areas.append(h * w / 120000)
        aspects.append(w / h)
    assert 0.07 < min(areas) < 0.15 and max(areas) > 0.9
    assert 0.74 < min(aspects) < 0.8 and 1.25 < max(aspects) < 1.35


def test_a_box_of_a_reduced_image_covers_what_it_covered_before():
    assert reduced_box((3, 5, 10, 7), (20, 30), (20, 30, 4)) == (3, 5, 10, 7)
    assert reduced_box((4, 6, 10, 8), (20, 30), (10, 15, 4)) == (2, 3, 5, 4)
    assert reduced_box((3, 5, 1, 1), (20, 30), (10, 15, 4)) == (1, 2, 1, 1)
    assert reduced_box((0, 0, 21, 29), (21, 29), (3, 4, 4)) == (0, 0, 3, 4)


@pytest.mark.parametrize("view", [RandomResizedView(24), RandomCropView(24, 28)], ids=repr)
def test_a_reduced_photograph_gives_nearly_the_same_view(view):
    image, stream = smooth(200, 160) // 2, Draws(Streams(0), 0).stream
    for k in range(20):
        whole, reduced = (view(kind(image), stream(k)).astype(int) for kind in (Whole, Halved))
        assert np.abs(whole[..., :2] - reduced[..., :2]).max() <= 4, k


@pytest.mark.parametrize("shape, expected", [((10, 1000), (0, 493, 10, 13)), ((1000, 10), (493, 0, 13, 10)),
                                             ((1, 1), (0, 0, 1, 1)), ((30, 30), (0, 0, 30, 30))])
def test_without_a_fitting_attempt_the_centre_is_taken(shape, expected):
    assert random_box(shape, [], 0.08) == expected


def test_exp_is_right_to_the_last_bits():
    for t in np.linspace(-0.3, 0.3, 101):
        assert math.isclose(views._exp(float(t)), math.exp(t), rel_tol=4e-16)


@pytest.mark.parametrize("view", [RandomCropView(24, 28), RandomResizedView(24), RandomResizedView(24, jitter=0.4),
                                  RandomCropView(24, 24, flip=False)], ids=repr)
def test_random_views_are_repeatable_and_differ_by_index(view):
    image, draws = smooth(50, 40), Draws(Streams(0), 0)
    a, b, c = (view(Whole(image), draws.stream(k)) for k in (4, 4, 5))
    assert a.shape == (24, 24, 3) and a.dtype == np.uint8
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize("view", [RandomResizedView(24), RandomCropView(24, 28)], ids=repr)
def test_half_of_the_views_are_mirrored_and_none_without_flip(view):
    image = smooth(40, 40)                                  # green grows to the right

    def share(view):
        pixels = [view(Whole(image), Draws(Streams(0), 0).stream(k))[..., 1].astype(int) for k in range(200)]
        return np.mean([p[:, -1].sum() < p[:, 0].sum() for p in pixels])

    assert 0.4 < share(view) < 0.6 and share(dataclasses.replace(view, flip=False)) == 0


def test_colour_jitter_moves_colours_within_bounds_and_leaves_black_and_white_pictures_grey():
    image = smooth(20, 20)[..., :3]
    stream = Streams(0).key("test")
    results = [colour_jitter(image, 0.4, stream) for _ in range(20)]
    assert all(r.dtype == np.uint8 and r.shape == image.shape for r in results)
    assert len({r.tobytes() for r in results}) == 20
    grey = np.repeat(image[..., :1], 3, -1)
    jittered = colour_jitter(grey, 0.4, stream)
    np.testing.assert_array_equal(jittered, np.repeat(jittered[..., :1], 3, -1))


def test_colour_jitter_of_strength_zero_changes_nothing():
    image = photo(9, 9)[..., :3]
    np.testing.assert_array_equal(colour_jitter(image, 0.0, Streams(0).key("test")), image)


def test_brightness_contrast_and_saturation_each_do_what_they_say():
    class Fixed:
        """A stream that scales one of the three by a half."""

        def __init__(self, which):
            self.which = which

        def uniform(self, count, low, high):
            return np.array([0.5 if k == self.which else 1.0 for k in range(count)])

        def permutation(self, n):
            return np.arange(n)

    image = np.array([[[200, 100, 0], [40, 40, 40]]], np.uint8)
    assert colour_jitter(image, 0.5, Fixed(0)).tolist() == [[[100, 50, 0], [20, 20, 20]]]
    luma = (19595 * 200 + 38470 * 100 + 32768) >> 16
    middle = (luma + 40 + 1) // 2
    contrast = [[int(np.rint(middle + 0.5 * (v - middle))) for v in pixel] for pixel in image[0].tolist()]
    assert colour_jitter(image, 0.5, Fixed(1)).tolist() == [contrast]
    saturation = [int(np.rint(luma + 0.5 * (v - luma))) for v in (200, 100, 0)]
    assert colour_jitter(image, 0.5, Fixed(2)).tolist() == [[saturation, [40, 40, 40]]]
