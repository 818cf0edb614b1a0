"""Images larger than 16 bits can address: smaller stripes, or a refusal."""
import re

import pytest
from compiling import compiled, needs_compiler
from packed_networks import constrained, packed_model, samples

from tinyq import nn
from tinyq.errors import UsageError
from tinyq.nn import Conv2d, Linear
from tinyq.packed.c.export import export
from tinyq.packed.integer.lowering import lower


def network(shape, outputs):
    model = nn.Sequential(Conv2d(shape[0], outputs, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(outputs, 2))
    return packed_model(constrained(nn.constrain(model, "all"), "ternary"), shape)


@needs_compiler
def test_stripes_are_small_enough_for_16_bits_even_where_there_is_memory(tmp_path):
    shape = 5, 13200, 1                         # one stripe would have words 0 to 66000
    large = network(shape, 88)
    export(lower(large, "int16"), large, tmp_path, "net", samples(1, shape))
    assert compiled(tmp_path, "net").returncode == 0


def test_an_image_whose_single_rows_are_too_large_is_refused(tmp_path):
    large = network((5, 1, 70000), 1)
    with pytest.raises(UsageError, match=re.escape("convolve an image of 5 x 1 x 70000 by kernels of 5 x 1 x 1: the")):
        export(lower(large, "int8"), large, tmp_path / "c", "net")
    assert not (tmp_path / "c").exists()
