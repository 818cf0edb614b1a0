"""Small packed networks for the tests, with weights on levels and ranges that mean something."""
import dataclasses

import numpy as np

from tinyq import models, nn
from tinyq.levels import parse
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.packed.file.encode_model import pack
from tinyq.packed.integer import calibrate
from tinyq.streams import Streams

SHAPES = {"mlp:20,8": (5,), "lenet": (1, 28, 28), "digits_cnn": (1, 8, 8), "resnet20": (3, 16, 16),
          "resnet18": (3, 32, 32), "googlenet": (3, 32, 32), "alexnet": (3, 63, 63)}


def samples(n, shape, seed=1):
    """A batch (n, *shape) float32."""
    return Streams(seed).key("samples").normal((n, *shape)).astype(np.float32)


def constrained(model, levels="ternary", seed=0):
    """The model with drawn weights, those that can be on levels, and batch norms that keep activations in range."""
    streams = Streams(seed)
    model.initialise(streams)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            stream = streams.key("norm", name)
            module.running_mean[...] = 0.1 * stream.normal(module.num_features)
            module.running_var[...] = 0.5 + stream.uniform(module.num_features)
            module.weight.data[...] = 0.5 + stream.uniform(module.num_features)
            module.bias.data[...] = 0.3 * stream.normal(module.num_features)
    for _, parameter in model.named_parameters():
        if parameter.constrained:
            scale = np.float32(np.abs(parameter.data).mean(dtype=np.float64))
            parameter.parametrization = LevelQuantizer(parse(levels), scale)
    return model


def packed_model(model, shape, **options):
    """The model packed and calibrated on a few samples."""
    packed = pack(model, shape, {}, **options)
    return dataclasses.replace(packed, ranges=calibrate.ranges(packed, [samples(4, shape)]))


def packed(name, levels="ternary", float_layer_bits=8):
    """A registered network, packed and calibrated."""
    shape = SHAPES[name]
    model = nn.constrain(models.build(name, 10, shape), "inner")
    return packed_model(constrained(model, levels), shape, float_layer_bits=float_layer_bits)
