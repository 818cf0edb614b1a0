"""How elementwise work is cut up: spans of a flat array, one thread for small arrays.

An element's arithmetic does not depend on its span, so these numbers may follow the machine.
"""
import numpy as np

# Elements a task handles: 64 KiB of float32, well inside a core's second-level cache.
SPAN = 1 << 14
# Below this many elements waking the other threads costs more than they save.
WORTH_THREADS = 1 << 15
# In place of an array that is not there: a flat one, and images.
NOTHING, NO_IMAGES = np.empty(0, np.float32), np.empty((0, 0, 0, 0), np.float32)


def contiguous(x):
    """A float32 array in C order at an aligned address, as compiled code may index it; itself where possible."""
    assert x.dtype == np.float32 and x.dtype.isnative, f"a float32 kernel was given {x.dtype}"
    return x if x.flags.carray else np.require(x, requirements=("C", "A"))


def flat(x):
    """The elements of a float32 array in C order as one contiguous axis; a view where possible."""
    return contiguous(x).reshape(-1)


def strided(x):
    """A float32 array whose strides count whole elements, as address arithmetic needs; itself where possible."""
    assert x.dtype == np.float32 and x.dtype.isnative, f"a float32 kernel was given {x.dtype}"
    whole = x.flags.aligned and all(stride % x.itemsize == 0 for stride in x.strides)
    return x if whole else x.copy()


def items_per_task(size_of_item):
    """How many items (planes, rows) of `size_of_item` elements make a task."""
    return max(1, SPAN // max(1, size_of_item))
