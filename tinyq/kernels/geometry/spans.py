"""Split work among threads: spans of a flat array, one thread for small arrays.

The arithmetic of an element does not depend on its span, so these numbers may follow the machine.
"""
import numpy as np

# Elements per task: 64 KiB of float32, well inside a core's second-level cache.
SPAN = 1 << 14
# Tasks of uneven length: with two per thread none waits long for the last.
_TASKS_PER_THREAD = 2
# Below this many elements waking the other threads costs more than they save.
MIN_PARALLEL_SIZE = 1 << 15
# Stand in for a missing array: a flat one, and images.
NOTHING, NO_IMAGES = np.empty(0, np.float32), np.empty((0, 0, 0, 0), np.float32)


def contiguous(x: np.ndarray) -> np.ndarray:
    """Return a float32 array in C order at an aligned address, as compiled code may index it; itself if possible."""
    assert x.dtype == np.float32 and x.dtype.isnative, f"a float32 kernel was given {x.dtype}"
    return x if x.flags.carray else np.require(x, requirements=("C", "A"))


def flat(x: np.ndarray) -> np.ndarray:
    """Return the elements of a float32 array in C order as one contiguous axis; a view if possible."""
    return contiguous(x).reshape(-1)


def strided(x: np.ndarray) -> np.ndarray:
    """Return a float32 array whose strides count whole elements, for address arithmetic; itself if possible."""
    assert x.dtype == np.float32 and x.dtype.isnative, f"a float32 kernel was given {x.dtype}"
    whole = x.flags.aligned and all(stride % x.itemsize == 0 for stride in x.strides)
    return x if whole else x.copy()


def count_parts(tasks: int, splittable: int, threads: int) -> int:
    """Count the parts, at most `splittable`, that each task is split into so that every thread has work."""
    wanted = 1 if threads == 1 else _TASKS_PER_THREAD * threads
    return max(1, min(splittable, -(-wanted // max(1, tasks))))


def items_per_task(size_of_item: int) -> int:
    """Count the items (planes, rows) of `size_of_item` elements that make a task."""
    return max(1, SPAN // max(1, size_of_item))


def map_elements(span, parallel, *inputs: np.ndarray) -> np.ndarray:
    """Return an elementwise function of float32 arrays: span(*inputs, y) on one thread, parallel(*inputs, y) on all."""
    y = np.empty(inputs[0].shape, np.float32)
    (span if y.size < MIN_PARALLEL_SIZE else parallel)(*map(flat, inputs), y.reshape(-1))
    return y


def over_items(serial, parallel, count: int, size: int, *arguments) -> None:
    """Run a kernel over `count` items (planes, rows) of `size` elements each.

    serial(*arguments, first, last) runs on one thread where there is little to do, else parallel(*arguments, count,
    items per task) on all.
    """
    if count * size < MIN_PARALLEL_SIZE:
        serial(*arguments, 0, count)
    else:
        parallel(*arguments, count, items_per_task(size))
