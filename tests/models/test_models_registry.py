import numpy as np
import pytest

from tinyq import models
from tinyq.autodiff import Tensor, no_record
from tinyq.errors import UsageError
from tinyq.models.cifar_resnet import Shortcut
from tinyq.streams import Streams

MNIST, CIFAR, DIGITS, PHOTOGRAPH = (1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 64, 64)
SIZES = {                           # model, classes, input: parameters
    ("logistic", 10, MNIST): 7_850,
    ("mlp:8,16", 3, (4,)): 235,
    ("mlp", 10, MNIST): 79_510,
    ("lenet", 10, MNIST): 61_706,
    ("digits_cnn", 10, DIGITS): 25_978,
    ("resnet20", 10, CIFAR): 269_722,
    ("resnet32", 10, CIFAR): 464_154,
    ("resnet56", 10, CIFAR): 853_018,
    ("cifar_resnet18", 10, CIFAR): 11_173_962,
    ("alexnet", 1000, PHOTOGRAPH): 61_100_840,              # these as torchvision's
    ("alexnet_bn", 1000, PHOTOGRAPH): 61_110_184,
    ("resnet18", 1000, PHOTOGRAPH): 11_689_512,
    ("resnet34", 1000, PHOTOGRAPH): 21_797_672,
    ("resnet50", 1000, PHOTOGRAPH): 25_557_032,
    ("resnet101", 1000, PHOTOGRAPH): 44_549_160,
    ("resnet152", 1000, PHOTOGRAPH): 60_192_808,
    ("wide_resnet50_2", 1000, PHOTOGRAPH): 68_883_240,
    ("resnext50_32x4d", 1000, PHOTOGRAPH): 25_028_904,
    ("googlenet", 1000, PHOTOGRAPH): 6_624_904,
    ("googlenet:aux", 1000, PHOTOGRAPH): 13_004_888,
}
INNER = {
    "lenet": ["conv2", "fc1", "fc2"],
    "digits_cnn": ["conv2", "conv3"],
    "mlp:8,16": ["fc2"],
    "logistic": [],
}


@pytest.mark.parametrize(("key", "count"), SIZES.items(), ids=str)
def test_parameter_counts(key, count):
    assert sum(p.size for p in models.build(*key).parameters()) == count


LARGE = ("resnet56", "resnet101", "resnet152", "wide_resnet50_2", "alexnet_bn")       # another of the kind is run


@pytest.mark.parametrize("key", [key for key in SIZES if key[0] not in LARGE], ids=str)
def test_every_model_maps_its_input_to_logits(key):
    name, num_classes, input_shape = key
    model = models.build(*key).initialise(Streams(0)).eval()
    x = np.random.default_rng(0).standard_normal((2, *input_shape)).astype(np.float32)
    with no_record():
        y = model(x)
    assert y.shape == (2, num_classes) and y.dtype == np.float32 and np.isfinite(y.data).all()


@pytest.mark.parametrize("name", INNER)
def test_first_and_last_layers_stay_float_by_default(name):
    key = next(key for key in SIZES if key[0] == name)
    assert [p for p, _ in models.build(*key).constrained_parameters()] == [f"{layer}.weight" for layer in INNER[name]]


def test_a_resnet_constrains_18_of_its_20_layers():
    model = models.build("resnet20", 10, CIFAR)
    names = [name for name, _ in model.constrained_parameters()]
    assert len(names) == 18 and "conv1.weight" not in names and "fc.weight" not in names
    assert len(models.build("resnet20", 10, CIFAR, constrain="all").constrained_parameters()) == 20
    assert models.build("resnet20", 10, CIFAR, constrain="none").constrained_parameters() == []


def test_a_shortcut_subsamples_and_adds_zero_channels():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32)
    y = Shortcut(2, 4)(Tensor(x)).data
    assert y.shape == (2, 8, 3, 3)
    assert np.array_equal(y[:, 2:6], x[:, :, ::2, ::2]) and not y[:, :2].any() and not y[:, 6:].any()


@pytest.mark.parametrize(("name", "input_shape", "says"), [
    ("lenett", MNIST, "did you mean 'lenet'?"),
    ("lenet", CIFAR, "takes (channels, 28, 28) images; the data's inputs are (3, 32, 32)"),
    ("lenet", (784,), "the data's inputs are (784,)"),
    ("digits_cnn", MNIST, "takes (channels, 8, 8) images"),
    ("resnet20", (4,), "model resnet20: takes"),
    ("lenet:5", MNIST, "model lenet:5: takes no argument"),
    ("resnet18", (3, 7, 8), "images of 8x8 or more; the data's inputs are (3, 7, 8)"),
    ("alexnet", (3, 64, 62), "images of 63x63 or more"),
    ("googlenet", (3, 14, 14), "images of 15x15 or more"),
    ("googlenet:heads", PHOTOGRAPH, "choose from: aux, untransformed"),
    ("mlp:", (4,), "such as mlp:100"),
    ("mlp:8,x", (4,), "such as mlp:100"),
    ("mlp:8,0", (4,), "such as mlp:100"),
    ("nowhere.py:net", (4,), "there is no file nowhere.py"),
    ("nowhere.py", (4,), "such as nowhere.py:function"),
])
def test_a_wrong_name_or_input_is_refused_in_one_line(name, input_shape, says):
    with pytest.raises(UsageError) as refusal:
        models.build(name, 10, input_shape)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)
