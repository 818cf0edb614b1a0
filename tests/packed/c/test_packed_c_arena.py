"""One block of memory: what is needed at once never overlaps, and what is not shares its place."""
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_networks import packed
from small_models import MODELS, WITH_FLOATS_INSIDE, small

from tinyq.packed.c.c_convolution import Convolution
from tinyq.packed.c.entry import find_entry
from tinyq.packed.c.placement import SCRATCH, place, scratch_of
from tinyq.packed.integer.arena import Lifetime, lifetimes, offsets
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.program import Add, Clip, Move, Reshape

BUFFERS = st.tuples(st.integers(1, 50), st.builds(lambda first, length: Lifetime(first, first + length),
                                                  st.integers(0, 20), st.integers(0, 20)))


@settings(max_examples=300, deadline=None)
@given(st.lists(BUFFERS, max_size=25))
def test_buffers_alive_at_the_same_time_do_not_overlap(buffers):
    sizes = {i: size for i, (size, _) in enumerate(buffers)}
    lives = {i: life for i, (_, life) in enumerate(buffers)}
    at = offsets(sizes, lives)
    for a in lives:
        for b in lives:
            if a < b and lives[a].overlaps(lives[b]):
                assert at[a] + sizes[a] <= at[b] or at[b] + sizes[b] <= at[a]
    needed = [sum(sizes[i] for i, life in lives.items() if life.first <= t <= life.last) for t in range(50)]
    assert max((at[a] + sizes[a] for a in lives), default=0) >= max(needed)


def test_buffers_never_alive_together_share_a_place():
    lives = {"a": Lifetime(0, 1), "b": Lifetime(2, 3), "c": Lifetime(1, 2)}
    assert offsets({"a": 5, "b": 5, "c": 2}, lives) == {"a": 0, "b": 0, "c": 5}


def test_a_value_lives_from_its_first_part_to_its_last_reader_and_the_result_to_the_end():
    part = slice(0, 1)
    operations = [Clip(-1, 0, 0, 9), Move(0, 1, (part,), (part,), None), Move(-1, 1, (part,), (part,), None),
                  Add(1, 2, 0, None), Clip(2, 3, 0, 9)]
    lives = lifetimes(operations, result=2)
    assert lives == {-1: Lifetime(0, 2), 0: Lifetime(0, 3), 1: Lifetime(1, 3), 2: Lifetime(3, 5), 3: Lifetime(4, 4)}


def planned(network, kind="int8"):
    program = lower(network, kind)
    start = find_entry(program, network)
    outside = {start.quantise.y} | ({program.end} if program.is_wide(program.end) else set())
    return place(start.behind, program, outside), program


def test_outputs_that_are_pooled_at_once_never_lie_in_memory():
    block, _ = planned(packed("lenet"))
    assert [op.pool for op in block.operations if isinstance(op, Convolution)] == [2, 2]
    assert block.size < 6 * 28 * 28


def test_stripes_are_smaller_where_memory_is_scarce():
    block, _ = planned(packed("resnet20"))
    stripes = {(op.stripe, op.out_height) for op in block.operations if isinstance(op, Convolution)}
    assert (4, 4) in stripes and any(stripe < height for stripe, height in stripes)
    assert block.size <= 1.3 * 2 * 16 * 16 * 16         # the smallest stripes need 1.276


def test_a_residual_sum_takes_the_place_of_what_it_adds():
    block, program = planned(packed("resnet20"))
    added = [op.product for op in block.operations if isinstance(op, Convolution) and op.product.added is not None]
    assert len(added) == 9 and all(block.values[op.y] == block.values[op.added] for op in added)


def test_an_output_takes_the_place_of_an_input_that_is_laid_out_before():
    block, _ = planned(packed("digits_cnn"))
    second = block.operations[1]
    x, y = block.values[second.x], block.values[second.y]
    assert second.copies_input and x < y + 32 * 4 * 4 and y < x + 16 * 8 * 8


def test_the_input_and_a_wide_result_are_not_in_the_block():
    for name in MODELS:
        if name not in WITH_FLOATS_INSIDE:
            network = small(name)
            block, program = planned(network)
            assert -1 not in block.values and (program.end in block.values) != program.is_wide(program.end)


def run_on_owners(block, program):
    """Run the operations on bytes that say only whose they are: what an operation reads was not overwritten."""
    itemsize, owner, first = program.dtype.itemsize, np.full(block.size, "", "U16"), {}

    def of(value):
        return slice(block.values[value], block.values[value] + math.prod(program.shapes[value]) * itemsize)

    def is_whole(value):
        return value not in block.values or (owner[of(value)] == first[value]).all()

    for i, op in enumerate(block.operations):
        assert all(map(is_whole, op.reads)), op
        first.setdefault(op.y, f"value {op.y}")
        if isinstance(op, Reshape):
            assert block.values.get(op.x) == block.values.get(op.y)
            first[op.y] = first.get(op.x)
            continue
        copied = isinstance(op, Convolution) and op.copies_input
        scratch = {name: slice(at, at + size) for at, (name, _, size) in
                   zip(block.scratch[i], scratch_of(op, i, itemsize), strict=True)}
        for name in filter(scratch.get, SCRATCH):
            assert name != "work" or is_whole(op.x)
            owner[scratch[name]] = name
        read = [value for value in op.reads if not copied or value in op.overwritable]
        assert all(map(is_whole, read)), op
        if op.y in block.values:
            owner[of(op.y)] = first[op.y]
        kept = [value for value in read if value not in op.overwritable or value not in block.values
                or op.y not in block.values or block.values[value] != block.values[op.y]]
        assert all(map(is_whole, kept)), op
        assert all((owner[place] == name).all() for name, place in scratch.items()), op
    assert is_whole(program.end)


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_nothing_is_overwritten_that_is_still_read(kind):
    for name in (*MODELS, "digits_cnn", "resnet20"):
        if name not in WITH_FLOATS_INSIDE:
            run_on_owners(*planned(small(name) if name in MODELS else packed(name), kind))
