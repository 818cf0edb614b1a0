"""A saved network beside data: whether both mean the same classes."""
from types import SimpleNamespace

import pytest

from tinyq.saved.eval_splits import same_classes


@pytest.mark.parametrize("names, data, classes, same", [
    (["0", "1"], "imagefolder", ["cat", "dog"], True),                      # never named
    (["cat", "dog"], "imagefolder", ["cat", "dog"], True),
    (["dog", "cat"], "imagefolder", ["cat", "dog"], False),
    (["n1 tench", "n2 great white shark"], "imagefolder", ["n1", "n2"], True),
    (["tench", "great white shark"], "imagefolder", ["n1", "n2"], False),
    (["tench", "great white shark"], "imagenet", ["n01440764", "n01484850"], True),     # ImageNet's order is fixed
    (["n01484850", "n01440764"], "imagenet", ["n01440764", "n01484850"], False),
    (["", "dog"], "imagefolder", ["cat", "dog"], False),
])
def test_names_are_compared_where_both_say_something(names, data, classes, same):
    assert same_classes(names, SimpleNamespace(name=data, class_names=tuple(classes), num_classes=2)) is same
