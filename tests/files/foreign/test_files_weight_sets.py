"""The sets of weights in what PyTorch saved, and what is said where there is none."""
import numpy as np
import pytest

from tinyq.files.foreign.numpy_pickles import Array
from tinyq.files.foreign.pickle_objects import Inert, Unnamed
from tinyq.files.foreign.pickle_texts import Unreadable
from tinyq.files.foreign.weight_sets import weight_sets


def array(*shape):
    made = Array()
    made.values = np.zeros(shape, np.float32)
    return made


def state(**others):
    return {"fc.weight": array(3, 2), "fc.bias": array(3), **others}


def module(name="nn.Net"):
    made = Inert(name)
    made.state = {"_modules": {}, "_parameters": {"w": array(2)}}
    return made


SGD = {"state": {0: {"momentum_buffer": array(3)}}, "param_groups": [{"lr": 0.1}]}
NAMED = {"state": {"fc.weight": {"exp_avg": array(3)}}, "param_groups": []}
SAME = state()
CYCLE: dict = {"model": state()}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize("content, keys", [
    (state(), [""]), ({"state_dict": state(), "epoch": 3}, ["state_dict"]), ({"net": state(), "acc": 1.0}, ["net"]),
    ({"best_acc1": array(), "state_dict": state(), "optimizer": SGD}, ["state_dict"]),
    ({"mean": array(3), "std": array(3), "model": {"state": state()}}, ["model.state"]),
    ({"model": state(), "opt": SGD, "sgd": NAMED, "optimizer_states": [state()]}, ["model"]),
    ({"model": state(), "model_ema": state(n_averaged=array())}, ["model", "model_ema"]),
    ({"model": SAME, "ema": SAME}, ["model", "ema"]),
    ({"a": {"b": {"c": state()}}}, ["a.b.c"]), (CYCLE, ["model"]),
    ({"model": state(), "args": Inert("argparse.Namespace"), 3: state()}, ["model"]),
    ({"teacher": module(), "student": state()}, ["student"]),
])
def test_the_sets_of_weights_are_found(content, keys):
    assert list(weight_sets(content)) == keys


def test_a_dict_of_an_unknown_class_may_be_a_set():
    own = Inert("fastai.OrderedDict")
    own.update(state())
    assert list(weight_sets({"model": own})["model"]) == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("content, reason", [
    (state(cfg=Inert("argparse.Namespace")), "'cfg' is an object of argparse.Namespace, not a tensor"),
    ({"model": state(epoch=3)}, "'epoch' in 'model' is a number, not a tensor"),
    ({"model": state() | {Unnamed(): 1}}, "the weights in 'model' have a name that is not a text"),
    (module(), "it is a whole model .nn.Net.*torch.save.model.state_dict"),
    ({"epoch": 3, "model": module("models.yolo.Model")}, "it is a whole model .models.yolo.Model"),
    ({"epoch": 3, "note": "x", "when": None, "sizes": (1,), "more": [], "raw": b"", "in": {}, "own": Inert("a.B")},
     "but 'epoch' .a number., 'note' .a text., 'when' .None., 'sizes' .a tuple., 'more' .a list., 'raw' .bytes., "
     "'in' .a dict., 'own' .an object of a.B"),
    ({"a": {"b": {"c": {"d": state()}}}}, "holds no state_dict, but 'a'"), ({"lr": array()}, "'lr' .a tensor"),
    ([state()], "but a list"), (array(3), "but a tensor"), (3, "but a number"), (object(), "but another object"),
    (Inert("os.system"), "but an object of os.system"), ({}, "holds no state_dict; save"),
])
def test_where_there_is_none_the_content_is_said(content, reason):
    with pytest.raises(Unreadable, match=reason):
        weight_sets(content)
