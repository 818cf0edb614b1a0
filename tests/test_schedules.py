import math

import pytest

from tinyq.errors import UsageError
from tinyq.schedules import SCHEDULES, Cosine, EarlyStopping, MultiStep, Plateau, Schedule, Step, WarmUp, build


def test_the_constant_schedule_is_constant():
    assert [Schedule().rate(0.3, epoch) for epoch in (0, 0.5, 100)] == [0.3] * 3


def test_steps_fall_at_whole_epochs_however_finely_asked():
    assert [Step(2, 0.5).rate(8.0, e) for e in (0, 1.99, 2, 3.5, 4, 6)] == [8, 8, 4, 4, 2, 1]
    assert [MultiStep((1, 3), 0.5).rate(8.0, e) for e in (0, 0.99, 1, 2.5, 3)] == [8, 8, 4, 4, 2]


def test_the_cosine_goes_from_base_to_minimum_through_the_middle():
    schedule = Cosine(10, minimum=0.2)
    assert schedule.rate(1.0, 0) == 1.0
    assert schedule.rate(1.0, 5) == pytest.approx(0.6, rel=1e-15)
    assert schedule.rate(1.0, 10) == pytest.approx(0.2, rel=1e-15)
    assert all(type(schedule.rate(1.0, e / 7)) is float for e in range(70))


def test_warm_up_joins_the_schedule_without_a_jump():
    schedule = WarmUp(Cosine(8), 2, start=0.1)
    rates = [schedule.rate(1.0, e / 100) for e in range(1000)]
    assert rates[0] == 0.1 and rates[200] == 1.0 and rates[100] == pytest.approx(0.55)
    assert max(abs(a - b) for a, b in zip(rates, rates[1:], strict=False)) < 0.005


def test_plateau_waits_for_patience_and_never_goes_below_its_minimum():
    schedule = Plateau(patience=1, factor=0.1, minimum=1e-3)
    rates = []
    for _ in range(10):
        schedule.observe(1.0)
        rates.append(schedule.rate(1.0, 0))
    assert rates[:5] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert 1e-3 <= rates[-1] < 1.001e-3


def test_a_nan_is_no_progress():
    schedule = Plateau(patience=0)
    schedule.observe(0.5)
    schedule.observe(math.nan)
    assert schedule.reductions == 1 and schedule.best == 0.5


def test_a_resumed_plateau_goes_on_where_it_was():
    metrics = [1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6]
    whole, first, second = (WarmUp(Plateau(patience=1, cooldown=1), 1) for _ in range(3))
    for metric in metrics:
        whole.observe(metric)
    for metric in metrics[:5]:
        first.observe(metric)
    second.load_state(first.state())
    for metric in metrics[5:]:
        second.observe(metric)
    assert second.state() == whole.state() and whole.schedule.reductions > 1


def test_a_schedule_is_found_by_name():
    assert build("cosine", epochs=5) == Cosine(5)
    assert isinstance(build("constant"), SCHEDULES["constant"])
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        build("cosin", epochs=5)


@pytest.mark.parametrize("make", [
    lambda: Step(0),
    lambda: Cosine(0),
    lambda: WarmUp(Schedule(), 0),
    lambda: Plateau(mode="smallest"),
    lambda: Plateau(factor=1.0),
])
def test_a_wrong_setting_is_refused(make):
    with pytest.raises(UsageError):
        make()


@pytest.mark.parametrize("higher", [True, False])
def test_an_infinite_figure_is_no_better_one_as_for_best_h5(higher):
    stopping = EarlyStopping(2, higher)
    for figure in (0.5, math.inf, -math.inf):
        stopping.observe(figure)
    assert stopping.done and stopping.best == 0.5
