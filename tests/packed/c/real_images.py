"""Networks on weights of a level set, calibrated on real images, and the test images they are run on."""
import dataclasses

import numpy as np
from packed_networks import constrained

from tinyq import data, models, nn
from tinyq.packed.file.encode_model import pack
from tinyq.packed.integer import calibrate


def on_images(model, levels, bundle):
    """A registered network with drawn weights, packed and calibrated on images of the bundle's training part."""
    network = constrained(nn.constrain(models.build(model, 10, bundle.input_shape), "inner"), levels)
    network = pack(network, bundle.input_shape, {}, float_layer_bits=8)
    return dataclasses.replace(network, ranges=calibrate.ranges(network, [bundle.train.batch(np.arange(32))[0]]))


def images_of_test(bundle):
    """All images of the test part, float32."""
    return bundle.test.batch(np.arange(len(bundle.test)))[0]


def digits():
    """The digits inside the package."""
    return data.load("digits")


def mnist(folder):
    """MNIST in a folder."""
    return data.load("mnist", path=str(folder), validation=0)
