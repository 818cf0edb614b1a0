"""RPR's schedule of freezing fractions and learning rates."""
from fractions import Fraction

import pytest

from tinyq.errors import UsageError
from tinyq.methods import RPR
from tinyq.methods.rpr.freezing_schedule import freezing_schedule

PUBLISHED = "0.9,0.95,0.975,0.9875,1"


def rates(found):
    return [[found.rate(stage, epoch) for epoch in range(length)] for stage, length in enumerate(found.lengths)]


def test_the_published_run_epoch_by_epoch():
    found = freezing_schedule(PUBLISHED, 112)
    assert found.fractions == tuple(map(Fraction, ("9/10", "19/20", "39/40", "79/80", "1")))
    assert found.lengths == (37, 15, 15, 15, 30)
    assert rates(found) == [[1] * 37, *[[1] * 10 + [0.1] * 5] * 3, [1] * 10 + [0.1] * 10 + [0.01] * 10]
    assert RPR().fractions == PUBLISHED and RPR().patience == 5 and RPR().epochs == 112


@pytest.mark.parametrize("epochs, lengths", [(5, (1, 1, 1, 1, 1)), (10, (5, 1, 1, 1, 2)), (30, (10, 4, 4, 4, 8)),
                                             (60, (20, 8, 8, 8, 16)), (200, (69, 26, 26, 26, 53))])
def test_other_lengths_keep_its_proportions(epochs, lengths):
    assert freezing_schedule(PUBLISHED, epochs).lengths == lengths and sum(lengths) == epochs


def test_given_lengths_are_kept_and_the_first_fraction_gets_the_rest():
    assert freezing_schedule(PUBLISHED, 200, period=15, final=30).lengths == (125, 15, 15, 15, 30)
    assert freezing_schedule("0.5,1", 10, final=3).lengths == (7, 3)
    assert freezing_schedule("1", 10, final=3).lengths == (10,)


def test_the_rate_falls_in_the_last_third_and_at_the_end_in_each():
    assert rates(freezing_schedule("0.5,0.75,1", 9, period=3, final=3)) == [[1, 1, 1], [1, 1, 0.1], [1, 0.1, 0.01]]
    assert rates(freezing_schedule("0.5,0.75,1", 4, period=2, final=1)) == [[1], [1, 1], [1]]
    assert rates(freezing_schedule("1", 3)) == [[1, 0.1, 0.01]]


@pytest.mark.parametrize("fractions", ["", "0.9", "0.9,0.8,1", "0.9,0.9,1", "-0.1,1", "0.9,1,1.1", "half,1", "nan,1",
                                       "1/0,1", "0.9;1"])
def test_fractions_that_do_not_ascend_to_1_are_refused(fractions):
    with pytest.raises(UsageError, match="fractions must ascend from 0 or more to 1"):
        RPR(fractions=fractions)


@pytest.mark.parametrize("settings, message", [
    (dict(epochs=4), "epochs must be at least 5 for 5 freezing fractions of RPR, got 4"),
    (dict(epochs=0, fractions="1"), "epochs must be at least 1"),
    (dict(epochs=75, period=15, final=30), "epochs must be at least 76"),
    (dict(period=0), "period must be at least 1, got 0"), (dict(final=-1), "final must be at least 1, got -1"),
    (dict(patience=0), "patience must be at least 1, got 0"),
])
def test_settings_that_leave_no_schedule_are_refused_by_their_name(settings, message):
    with pytest.raises(UsageError, match=message) as caught:
        RPR(**settings)
    assert caught.value.exit_code == 2
