"""One block of memory: what is needed at once never overlaps, and what is not shares its place."""
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_networks import packed
from small_models import MODELS, WITH_FLOATS_INSIDE, small

from tinyq.packed.c.entry import entry
from tinyq.packed.c.placement import arena
from tinyq.packed.integer.arena import Life, offsets
from tinyq.packed.integer.lowering import lower

LIVES = st.builds(lambda size, first, length: Life(size, first, first + length), st.integers(1, 50),
                  st.integers(0, 20), st.integers(0, 20))


@settings(max_examples=300, deadline=None)
@given(st.lists(LIVES, max_size=25))
def test_what_lives_at_the_same_time_does_not_overlap(lives):
    lives = dict(enumerate(lives))
    at = offsets(lives)
    for a in lives:
        for b in lives:
            if a < b and lives[a].meets(lives[b]):
                assert at[a] + lives[a].size <= at[b] or at[b] + lives[b].size <= at[a]
    needed = [sum(life.size for life in lives.values() if life.first <= t <= life.last) for t in range(50)]
    assert max((at[a] + lives[a].size for a in lives), default=0) >= max(needed)


def test_what_does_not_live_at_the_same_time_shares_its_place():
    assert offsets({"a": Life(5, 0, 1), "b": Life(5, 2, 3), "c": Life(2, 1, 2)}) == {"a": 0, "b": 0, "c": 5}


def planned(network):
    program = lower(network, "int8")
    start = entry(program, network)
    outside = {start.quantise.y} | ({program.result} if program.is_wide(program.result) else set())
    return arena(start.behind, program, outside), program


def test_the_arena_of_lenet_is_its_two_largest_neighbours():
    block, program = planned(packed("lenet"))
    assert block.size == 6 * 28 * 28 + 6 * 14 * 14


def test_a_residual_sum_takes_the_place_of_what_it_adds():
    block, _ = planned(small("residual"))
    assert block.size == 2 * 5 * 9 * 9                  # not three: x, the sum and what is added to it


def test_the_input_and_a_wide_result_are_not_in_the_block():
    for name in MODELS:
        if name not in WITH_FLOATS_INSIDE:
            network = small(name)
            block, program = planned(network)
            assert -1 not in block.places and (program.result in block.places) != program.is_wide(program.result)
