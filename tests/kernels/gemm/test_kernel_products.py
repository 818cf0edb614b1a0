"""Matrix product and convolution: the register tiles give the bits of the references for any shape and threads."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.errors import UsageError
from tinyq.kernels.gemm import prepacked, weight_grad
from tinyq.kernels.gemm.level_runs import can_decode
from tinyq.kernels.gemm.select import Driver, pixels_pay, select, select_by_rows
from tinyq.kernels.geometry.conv_plan import forward_plan, input_grad_plans
from tinyq.kernels.reference.gemm import conv as plain_conv
from tinyq.kernels.reference.gemm import matmul as plain_product
from tinyq.kernels.reference.gemm import prepacked as plain_inference
from tinyq.kernels.simd.vectors import LANES
from tinyq.streams import Streams


def normal(name, *shape):
    return Streams(0).key(name).normal(shape).astype(np.float32)


def assert_same_bits(a, b):
    assert a.dtype == b.dtype == np.float32 and a.shape == b.shape
    assert np.array_equal(a.view(np.int32), b.view(np.int32))


# m, k, n: below, at and beyond a tile and a block of 256; single rows and columns
@pytest.mark.parametrize("m, k, n", [
    (5, 7, 3), (64, 400, 120), (33, 600, 65), (1, 300, 1), (8, 256, 32), (17, 257, 1), (1, 1, 40)])
def test_matmul_has_the_references_bits(m, k, n, threads):
    a, b = normal("a", m, k), normal("b", n, k).T
    assert_same_bits(kernels.matmul(a, b), plain_product.matmul(a, b))
    assert_same_bits(kernels.matmul(b.T, a.T), plain_product.matmul(b.T, a.T))
    assert_same_bits(kernels.matmul(a[::2, ::3], b[::3, ::2]), plain_product.matmul(a[::2, ::3], b[::3, ::2]))


def test_matmul_of_nothing_is_zero():
    assert np.array_equal(kernels.matmul(np.empty((3, 0), np.float32), np.empty((0, 2), np.float32)), np.zeros((3, 2)))
    assert kernels.matmul(np.empty((0, 4), np.float32), np.empty((4, 2), np.float32)).shape == (0, 2)


CONVOLUTIONS = {
    "3x3": ((2, 3, 9, 8), (5, 3, 3, 3), 1, 1, 1, 1),
    "LeNet's first": ((3, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, 1),
    "LeNet's second": ((2, 6, 14, 14), (16, 6, 5, 5), 1, 0, 1, 1),
    "stride 2, more than a block of k": ((2, 32, 9, 9), (33, 32, 3, 3), 2, 1, 1, 1),
    "everything uneven": ((2, 4, 11, 12), (6, 2, 3, 2), (2, 3), (1, 2), (2, 1), 2),
    "1x1 without a copy": ((2, 8, 7, 7), (9, 8, 1, 1), 1, 0, 1, 1),
    "1x1 with stride": ((2, 8, 8, 7), (3, 8, 1, 1), 2, 0, 1, 1),
    "several chunks, pixels that end inside a block": ((19, 5, 6, 6), (4, 5, 3, 3), 1, 1, 1, 1),
    "two column tiles": ((1, 40, 5, 5), (40, 40, 3, 3), 1, 1, 1, 1),
    "stride beyond the window": ((2, 3, 11, 11), (4, 3, 2, 2), 3, 0, 1, 1),
    "AlexNet's first": ((1, 3, 23, 23), (7, 3, 11, 11), 4, 2, 1, 1),
    "depthwise": ((2, 4, 5, 5), (4, 1, 3, 3), 1, 1, 1, 4),
    "padding wider than the output": ((2, 4, 16, 16), (8, 4, 3, 3), 1, 24, 24, 1),
    "a long flat window": ((1, 2, 2, 9), (3, 2, 1, 41), 1, (0, 20), 1, 1),
    "padding wider than the image": ((2, 3, 4, 4), (2, 3, 3, 3), 1, 3, 1, 1),
    "an odd number of vectors of pixels": ((1, 300, 14, 14), (30, 300, 1, 1), 1, 0, 1, 1),
    "no samples": ((0, 3, 4, 4), (20, 3, 3, 3), 1, 1, 1, 1),
    "no samples, few outputs": ((0, 8, 7, 7), (3, 8, 1, 1), 1, 0, 1, 1),
    "one pixel": ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
}


@pytest.fixture(params=["few pixels", "many pixels"])
def pixels(request, monkeypatch):
    """Both ways to a weight gradient, whatever the sizes."""
    monkeypatch.setattr(weight_grad, "_FEW", 1 << 30 if request.param == "few pixels" else 0)


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolution_has_the_references_bits(case, threads, pixels):
    geometry = kernels.conv_geometry(*case)
    x, w, g = normal("x", *case[0]), normal("w", *case[1]), normal("g", *geometry.output_shape)
    scale, bias = normal("scale", case[1][0]), normal("bias", case[1][0])
    assert_same_bits(kernels.conv2d(x, w, geometry), plain_conv.conv2d(x, w, geometry))
    assert_same_bits(kernels.conv2d(x, w, geometry, scale, bias), plain_conv.conv2d(x, w, geometry, scale, bias))
    assert_same_bits(kernels.conv2d_input_grad(g, w, geometry), plain_conv.conv2d_input_grad(g, w, geometry))
    assert_same_bits(kernels.conv2d_weight_grad(g, x, geometry), plain_conv.conv2d_weight_grad(g, x, geometry))


@pytest.fixture(autouse=True)
def used_memory():
    """What the kernels allocate holds NaNs, as memory that was used before may."""
    blocks = [np.full(1 << size, np.nan, np.float32) for size in range(6, 18) for _ in range(20)]
    del blocks


@pytest.fixture
def small_planes_pay(monkeypatch):
    """A number of pixels alone decides for tiles of pixels, whatever the sizes."""
    monkeypatch.setattr(prepacked, "pixels_pay", lambda pixels, m: pixels is not None)


@pytest.mark.parametrize("pixels, m, pays", [(49, 512, True), (3136, 16, True), (3137, 64, False), (196, 6, False),
                                             (784, 8 * 13, True)])
def test_tiles_of_pixels_are_for_small_planes_of_many_outputs(pixels, m, pays):
    if LANES == 16:
        assert pixels_pay(pixels, m) is pays


def test_each_driver_is_selected_for_its_layers():
    def plan(*shapes):
        return forward_plan(kernels.conv_geometry(*shapes, 1, 1))

    assert select(plan((1, 64, 14, 14), (128, 64, 3, 3)), 128) is Driver.PIXELS
    assert select(plan((1, 3, 224, 224), (64, 3, 7, 7)), 64) is Driver.SAMPLES
    assert select_by_rows(plan((1, 64, 3, 3), (512, 64, 3, 3)), 512) is Driver.PANELS


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("added, relu", [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("pixels", [None, 1])
def test_a_packed_convolution_has_the_bits_of_its_parts(case, added, relu, pixels, threads, small_planes_pay):
    geometry = kernels.conv_geometry(*case)
    x, w, scale, shift = (normal(name, *shape) for name, shape in (
        ("x", case[0]), ("w", case[1]), ("scale", case[1][:1]), ("bias", case[1][:1])))
    other = normal("added", *geometry.output_shape[::-1]).T if added else None
    packed = kernels.pack_weights(w, geometry.groups, pixels)
    y = kernels.conv2d_packed(x, packed, geometry, scale, shift, other, relu)
    assert_same_bits(y, plain_inference.conv2d_packed(x, w, geometry, scale, shift, other, relu))
    n, m, *size = y.shape
    for convolution, weights in ((kernels.conv2d_packed, packed), (plain_inference.conv2d_packed, w)):
        joined = np.full((n, m + 5, *size), 7, np.float32)
        part = convolution(x, weights, geometry, scale, shift, other, relu, joined, 2)
        assert part.base is joined and np.array_equal(part, y) and np.array_equal(joined[:, 2:2 + m], y)
        assert (joined[:, :2] == 7).all() and (joined[:, 2 + m:] == 7).all()


@pytest.mark.parametrize("n, k, m", [(1, 300, 40), (5, 7, 3), (17, 600, 65), (0, 4, 2), (9, 256, 32)])
@pytest.mark.parametrize("relu", [False, True])
def test_a_packed_linear_layer_has_the_bits_of_its_parts(n, k, m, relu, threads):
    x, w, scale, shift = normal("x", k, n).T, normal("w", m, k), normal("scale", m), normal("shift", m)
    assert_same_bits(kernels.linear_packed(x, kernels.pack_linear(w), scale, shift, relu),
                     plain_inference.linear_packed(x, w, scale, shift, relu))


LEVELS = [(-1, 1), (-1, 0, 1), (-1, -0.5, 0, 0.5, 1), (-1, -0.5, -0.25, 0, 0.25, 0.5, 1), tuple(range(-10, 10))]


def on_levels(levels, *shape):
    """Weights that take these values alone, and the levels."""
    levels = np.array(levels, np.float32)
    return levels[Streams(3).key("levels", *shape).integers(0, len(levels), shape)], levels


@pytest.mark.parametrize("levels", LEVELS, ids=len)
@pytest.mark.parametrize("pixels", [None, 1])
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_of_weights_in_codes_has_the_bits_of_floats(case, pixels, levels, threads, small_planes_pay):
    geometry = kernels.conv_geometry(*case)
    w, levels = on_levels(levels, *case[1])
    x, scale, shift = normal("x", *case[0]), normal("scale", len(w)), normal("bias", len(w))
    packed = kernels.code_weights(w, geometry.groups, levels, pixels)
    y = kernels.conv2d_packed(x, packed, geometry, scale, shift, None, True)
    assert_same_bits(y, kernels.conv2d_packed(x, kernels.pack_weights(w, geometry.groups), geometry, scale, shift, None,
                                              True))
    plain = plain_inference.code_weights(w, geometry.groups, levels)
    assert_same_bits(y, plain_inference.conv2d_packed(x, plain, geometry, scale, shift, None, True))


@pytest.mark.parametrize("levels", LEVELS, ids=len)
@pytest.mark.parametrize("n, k, m", [(1, 300, 40), (3, 1, 3), (2, 519, 130), (17, 600, 65), (0, 4, 2)])
def test_a_linear_layer_of_weights_in_codes_has_the_references_bits(n, k, m, levels, threads):
    w, levels = on_levels(levels, m, k)
    x, scale, shift = normal("x", k, n).T, normal("scale", m), normal("shift", m)
    assert_same_bits(kernels.linear_packed(x, kernels.code_linear(w, levels), scale, shift, False),
                     plain_inference.linear_packed(x, w, scale, shift, False))
    assert_same_bits(plain_inference.linear_packed(x, plain_inference.code_linear(w, levels), scale, shift, False),
                     plain_inference.linear_packed(x, w, scale, shift, False))


@pytest.mark.parametrize("extreme", [0.0, 1e-45, 3e-38, 1e-30, 3e38, np.inf, np.nan])
@pytest.mark.parametrize("levels", [(-2, -1, 0, 1, 2), (-1, -0.25, 0, 0.25, 1), (0,)])
def test_extreme_inputs_of_weights_in_codes_have_the_references_bits(extreme, levels):
    """Where a product with a power of two is not exact, or overflows before the sum does."""
    w, levels = on_levels(levels, 6, 40)
    x, one, none = normal("x", 3, 40), np.ones(6, np.float32), np.zeros(6, np.float32)
    with np.errstate(all="ignore"):
        x[0, ::3] *= np.float32(extreme)
        x[1] *= np.float32(extreme)
        coded = plain_inference.linear_packed(x, plain_inference.code_linear(w, levels), one, none, False)
        assert_same_bits(coded, plain_inference.linear_packed(x, w, one, none, False))


def test_weights_in_codes_take_one_two_or_four_bits_without_numba():
    for levels, bits in (((-1, 1), 1), ((-1, 0, 1), 2), ((-1, -0.5, 0, 0.5, 1), 4)):
        w, levels = on_levels(levels, 64, 16, 3, 3)
        assert plain_inference.code_weights(w, 1, levels).nbytes == w.size * bits // 8 + levels.nbytes


@pytest.mark.skipif(not can_decode(), reason="this processor has no kernels that decode weights: they stay float32")
def test_weights_in_codes_take_two_or_four_bits():
    w, levels = on_levels((-1, 0, 1), 256, 256, 3, 3)
    assert kernels.code_weights(w, 1, levels).nbytes <= w.nbytes / 16 * 1.01
    assert kernels.code_linear(w.reshape(256, -1), levels).nbytes <= w.nbytes / 16 * 1.01


def random_geometry(index):
    """Sizes, strides, paddings, dilations and groups of every kind, small enough for the reference."""
    draw = Streams(index).key("geometry").integers
    groups, (kh, kw) = int(draw(1, 3)), map(int, draw(1, 5, 2))
    stride, padding, dilation = (tuple(map(int, draw(low, high, 2))) for low, high in ((1, 4), (0, 6), (1, 4)))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip((kh, kw), padding, dilation, strict=True)]
    h, w = (int(draw(low, low + 9)) for low in least)
    c_in, c_out = int(draw(1, 4)), int(draw(1, 20))
    return (int(draw(1, 4)), groups * c_in, h, w), (groups * c_out, c_in, kh, kw), stride, padding, dilation, groups


@pytest.mark.parametrize("index", range(60))
def test_convolution_of_any_geometry_has_the_references_bits_and_stays_inside_its_input(index, pixels, threads):
    geometry = kernels.conv_geometry(*random_geometry(index))
    x, w, g = (normal(name, *shape) for name, shape in (
        ("x", geometry.x_shape), ("w", geometry.w_shape), ("g", geometry.output_shape)))
    for plan in (forward_plan(geometry), *input_grad_plans(geometry)):
        assert plan.offsets.max() + plan.virtual_pixels <= plan.size
    assert_same_bits(kernels.conv2d(x, w, geometry), plain_conv.conv2d(x, w, geometry))
    assert_same_bits(kernels.conv2d_input_grad(g, w, geometry), plain_conv.conv2d_input_grad(g, w, geometry))
    assert_same_bits(kernels.conv2d_weight_grad(g, x, geometry), plain_conv.conv2d_weight_grad(g, x, geometry))


def test_convolution_takes_any_strides():
    x, w = normal("x", 8, 9, 3, 2).T, normal("w", 3, 3, 3, 5).T
    geometry = kernels.conv_geometry(x.shape, w.shape, 1, 1)
    g = normal("g", *geometry.output_shape[::-1]).T
    for name, arrays in (("conv2d", (x, w)), ("conv2d_input_grad", (g, w)), ("conv2d_weight_grad", (g, x))):
        kernel = getattr(kernels, name)
        assert_same_bits(kernel(*arrays, geometry), kernel(*map(np.ascontiguousarray, arrays), geometry))


def test_a_sum_that_cancels_or_underflows_is_plus_zero():
    tiny = np.full((1, 1), -1e-30, np.float32)
    assert_same_bits(kernels.matmul(tiny, -tiny), np.zeros((1, 1), np.float32))
    x, w = tiny.reshape(1, 1, 1, 1), -tiny.reshape(1, 1, 1, 1)
    assert_same_bits(kernels.conv2d(x, w, kernels.conv_geometry(x.shape, w.shape)), np.zeros((1, 1, 1, 1), np.float32))


def test_the_image_is_never_unfolded():
    import tracemalloc

    x, w = np.ones((32, 32, 32, 32), np.float32), np.ones((32, 32, 3, 3), np.float32)
    geometry = kernels.conv_geometry(x.shape, w.shape, 1, 1)
    unfolded = x.nbytes * 9
    passes = ((kernels.conv2d, (x, w)), (kernels.conv2d_input_grad, (x, w)), (kernels.conv2d_weight_grad, (x, x)))
    for kernel, arrays in passes:
        kernel(*arrays, geometry)                           # compiles
        tracemalloc.start()
        kernel(*arrays, geometry)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < unfolded / 3


@pytest.mark.parametrize("x_shape, w_shape, options", [
    ((1, 3, 8, 8), (4, 2, 3, 3), {}),
    ((1, 3, 8, 8), (4, 3, 9, 9), {}),
    ((1, 4, 8, 8), (3, 2, 3, 3), {"groups": 2}),
    ((3, 8, 8), (4, 3, 3, 3), {}),
    ((1, 3, 8, 8), (4, 3, 0, 3), {}),
])
def test_shapes_that_do_not_fit_are_named(x_shape, w_shape, options):
    with pytest.raises(UsageError, match=r"conv2d: input \("):
        kernels.conv_geometry(x_shape, w_shape, **options)


@pytest.mark.parametrize("options", [
    {"stride": 0}, {"dilation": 0}, {"padding": -1}, {"groups": 0}, {"stride": 1.5}, {"padding": "same"},
    {"stride": (1, 2, 3)}])
def test_a_geometry_that_makes_no_sense_is_refused(options):
    with pytest.raises(UsageError, match=f"conv2d: {next(iter(options))} "):
        kernels.conv_geometry((1, 3, 8, 8), (4, 3, 3, 3), **options)


def test_geometry_takes_numpy_integers_and_lists():
    wanted = kernels.conv_geometry((1, 3, 8, 8), (4, 3, 3, 3), (2, 1), 1)
    assert kernels.conv_geometry((1, 3, 8, 8), (4, 3, 3, 3), [2, 1], np.int64(1)) == wanted


def test_no_samples_give_a_zero_weight_gradient():
    geometry = kernels.conv_geometry((0, 2, 5, 5), (3, 2, 3, 3))
    x, g = np.empty((0, 2, 5, 5), np.float32), np.empty(geometry.output_shape, np.float32)
    assert not kernels.conv2d_weight_grad(g, x, geometry).any()


def test_the_fields_of_packed_records_are_copied():
    record = np.zeros(5, [("label", "u1"), ("x", "<f4", (300,))])
    record["x"] = normal("x", 5, 300)
    w = normal("w", 7, 300)
    assert_same_bits(kernels.matmul(record["x"], w.T), kernels.matmul(record["x"].copy(), w.T))


@pytest.mark.parametrize("wrong", [np.float16, np.float64, ">f4"])
def test_another_dtype_or_a_wrong_size_is_never_computed_with(wrong):
    a, b = normal("a", 3, 4), normal("b", 4, 5)
    with pytest.raises(AssertionError):
        kernels.matmul(a, b.astype(wrong))
    with pytest.raises(AssertionError):
        kernels.matmul(a, b[:3])
