"""What a file says its network predicts."""
import pytest

from tinyq.errors import BadInput
from tinyq.saved.attributes import check_attributes

ATTRIBUTES = {"model": "mlp", "data": "", "method": "cbp", "constrain": "inner", "class_names": ["a", "b"],
              "input_shape": "4"}


@pytest.mark.parametrize("said", [{}, {"targets": "classes"}, {"targets": "numbers", "target_shape": "2"},
                                  {"targets": "labels", "target_shape": "1,2"}])
def test_targets_with_a_name_for_each_are_taken(said):
    check_attributes("x.h5", ATTRIBUTES | said)


@pytest.mark.parametrize("said, fault", [
    ({"targets": "pictures"}, "targets is none of classes, numbers, labels"), ({"targets": 3}, "targets is none"),
    ({"targets": "numbers"}, "target_shape is no shape"),
    ({"targets": "numbers", "target_shape": "3"}, "target_shape"),
    ({"targets": "labels", "target_shape": "0,2"}, "target_shape"),
    ({"targets": "labels", "target_shape": 2}, "target_")])
def test_other_targets_are_refused(said, fault):
    with pytest.raises(BadInput, match=fault):
        check_attributes("x.h5", ATTRIBUTES | said)
