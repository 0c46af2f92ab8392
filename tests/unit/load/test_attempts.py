from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from okitoki_load.attempts import LONGEST_PAUSE_SECONDS, Attempt, Course
from okitoki_load.ledger import FAIL, OK, UNKNOWN
from okitoki_load.operations import Operations


def attempt(outcome: str) -> Attempt:
    return Attempt(outcome, outcome, again=outcome != OK)


@given(st.lists(st.sampled_from([FAIL, UNKNOWN]), max_size=12), st.booleans())
def test_one_attempt_that_may_have_worked_makes_every_later_refusal_ambiguous(before: list[str], works: bool) -> None:
    course = Course(0.0, 12.0, lambda low, high: high)
    pauses = [course.take(attempt(outcome)) for outcome in before]
    assert all(pause is not None and pause <= LONGEST_PAUSE_SECONDS for pause in pauses)
    assert course.outcome == (UNKNOWN if UNKNOWN in before else FAIL)
    if works:
        assert course.take(attempt(OK)) is None
        assert course.outcome == OK


def test_a_refusal_for_good_ends_the_course_and_the_deadline_is_its_bound() -> None:
    course = Course(100.0, 12.0)
    assert course.remaining(100.0) == 12.0
    assert course.remaining(112.0) <= 0
    assert course.take(Attempt(FAIL, "409", again=False)) is None
    assert (course.outcome, course.attempts, course.detail) == (FAIL, 1, "409")


def test_the_same_seed_gives_the_same_keys_and_other_writers_get_others() -> None:
    def keys(name: str) -> list[str]:
        made = Operations(run="run", name=name, number="+380441234567", seed=7)
        return [made.write(1.0).id, made.other("call", {}, 2.0).id]

    assert keys("a") == keys("a")
    assert not set(keys("a")) & set(keys("b"))
