"""Layers that stay float, and the levels of the others, by name and pattern."""
import re

import pytest

from tinyq import models, nn
from tinyq.errors import UsageError
from tinyq.levels import parse


def lenet(which="inner", keep=""):
    return models.build("lenet", 10, (1, 28, 28), which, keep)


def residual(keep=""):
    return models.build("resnet20", 10, (3, 32, 32), keep=keep)


@pytest.mark.parametrize("which, keep, left", [
    ("inner", "fc1", ["conv2", "fc2"]),
    ("inner", "conv1, fc2", ["conv2", "fc1"]),                   # the first layer is float as it is
    ("all", "conv?,fc3", ["fc1", "fc2"]),
    ("all", "*", []),
])
def test_kept_layers_stay_float(which, keep, left):
    assert [name for name, _ in lenet(which, keep).constrained_parameters()] == [f"{layer}.weight" for layer in left]


@pytest.mark.parametrize("keep, words", [
    ("fc9", "keep fc9: no conv or linear layer here fits fc9; did you mean 'fc3'? choose from: conv1, "),
    ("conv1.weight", "did you mean 'conv1'?"),
    ("conv2,dense*", "keep dense*: no conv or linear layer here fits dense*; choose from: conv1"),
])
def test_a_kept_layer_that_is_not_there_is_refused_with_a_near_name(keep, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        lenet(keep=keep)


def test_the_name_of_a_block_is_not_that_of_its_layers():
    with pytest.raises(UsageError, match=re.escape("did you mean 'layer1.*'?")):
        residual("layer1")
    assert not any(name.startswith("layer1.") for name, _ in residual("layer1.*").constrained_parameters())
    with pytest.raises(UsageError, match="keep bn1: no conv or linear layer here fits bn1"):
        residual("bn1")                                             # has no weight that a method constrains


@pytest.mark.parametrize("text", ["ternary", "*=ternary", "conv2=shift1,fc1=binary,*=ternary",
                                  "fc*=shift1,conv2=binary", "fc*=shift1,*=binary,fc1=-1,0,2"])
def test_levels_that_give_one_set_to_each_constrained_layer_are_right(text):
    nn.check_levels(lenet(), parse(text))


@pytest.mark.parametrize("text, which, keep, words", [
    ("conv3=binary,*=ternary", "inner", "", "levels conv3=binary: no layer here fits conv3; did you mean 'conv2'?"),
    ("conv1=binary,*=ternary", "inner", "", "conv1 stays float as the first or the last layer; with constrain \"all\""),
    ("conv2=binary,*=ternary", "all", "conv*", "conv2 stays float because of keep conv*; leave one of them out"),
    ("fc1=binary,fc2=shift1", "inner", "", "no set for conv2; add *=ternary"),
    ("fc?=binary,f*=shift1,*=ternary", "inner", "", "fc? and f* contradict each other, because both fit fc1"),
    ("f*=shift2,fc1=binary,fc2=shift1,*=ternary", "inner", "", "levels f*=shift2: has no effect"),
])
def test_levels_that_do_not_fit_the_network_are_refused_with_the_reason(text, which, keep, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        nn.check_levels(lenet(which, keep), parse(text), keep)


def test_what_was_made_float_and_what_has_no_weights_to_constrain_is_called_that():
    model = nn.constrain(nn.Sequential(nn.Linear(2, 2, constrained=False), nn.BatchNorm1d(2), nn.Linear(2, 2)), "all")
    with pytest.raises(UsageError, match="0 was made to stay float"):
        nn.check_levels(model, parse("0=binary,*=ternary"))
    with pytest.raises(UsageError, match="1 has no conv or linear weight"):
        nn.check_levels(model, parse("1=binary,*=ternary"))
    model = nn.constrain(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "all")
    nn.check_levels(model, parse("1=binary,*=ternary"), everything=True)
