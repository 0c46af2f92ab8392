"""`hibernate` and `wake`: what they change, what they refuse, and what is told meanwhile."""

from __future__ import annotations

import pytest
from unit.plugin.support import Clock, Fake, condition

from okitoki_kubectl.commands.states import hibernate, wake
from okitoki_kubectl.waiting import Failed

STEPS = {
    "Paused": [("False", "Stopping", "waiting for 2 pods of app to end"), ("False", "Stopping", "the database stops"),
               ("True", "Paused", "no pod runs")],
    "Active": [("False", "Waking", "the database wakes"), ("True", "Ready", "everything is in place and serves")],
}  # fmt: skip


def following(state: str = "Active") -> Fake:
    """An operator that takes one step at each look."""
    steps: list[tuple[str, str, str]] = []

    def operator(fake: Fake) -> None:
        generation = fake.tenant["metadata"]["generation"]
        if generation == 1:
            return
        if not steps:
            steps.extend(STEPS[fake.tenant["spec"]["state"]])
        status, reason, message = steps.pop(0) if len(steps) > 1 else steps[0]
        fake.tenant["status"]["conditions"] = [condition("Ready", status, message, reason, generation)]

    made = Fake(operator)
    made.tenant["spec"]["state"] = state
    made.tenant["status"]["conditions"] = [condition("Ready", "True", "as it is", "Ready")]
    return made


@pytest.mark.parametrize(("do", "before", "after"), [(hibernate, "Active", "Paused"), (wake, "Paused", "Active")])
def test_the_state_is_changed_and_its_way_told_until_it_is_reached(do, before: str, after: str) -> None:  # type: ignore[no-untyped-def]
    fake, clock = following(before), Clock()
    [row] = do(fake, "acme", 600.0, clock.waiter())
    assert fake.changes == [("acme", "/spec/state", after)]
    assert (row["state"], row["ready"]) == (after, "True")
    told = [line.partition("acme: ")[2] for line in clock.told]
    assert told == ["the operator has not seen it yet", *(f"{reason}: {text}" for _, reason, text in STEPS[after][:-1])]


def test_without_wait_it_says_that_it_is_only_asked_for() -> None:
    [row] = hibernate(Fake(), "acme", None, Clock().waiter())
    assert (row["state"], row["ready"]) == ("Paused", "Unknown")
    assert "asked for" in row["message"]


def test_what_is_so_already_is_not_changed() -> None:
    fake = Fake()
    [row] = wake(fake, "acme", None, Clock().waiter())
    assert (row["state"], fake.changes) == ("Active", [])


@pytest.mark.parametrize("state", ["Suspended", "Restricted"])
@pytest.mark.parametrize("do", [hibernate, wake])
def test_a_company_that_is_not_served_on_purpose_is_not_let_in_by_a_nap(do, state: str) -> None:  # type: ignore[no-untyped-def]
    fake = following(state)
    with pytest.raises(Failed, match=rf"acme is {state}, neither Active nor Paused.*kubectl patch tenant acme"):
        do(fake, "acme", None, Clock().waiter())
    assert fake.changes == []


def test_a_tenant_that_does_not_get_there_is_told_with_the_reason_and_both_ways_on() -> None:
    fake = Fake()
    with pytest.raises(Failed) as caught:
        hibernate(fake, "acme", 5.0, Clock().waiter())
    assert "not Paused after 5 s (acme: the operator has not seen it yet)" in str(caught.value)
    assert "kubectl okitoki hibernate acme --wait" in str(caught.value)
    assert "kubectl okitoki wake acme" in str(caught.value)
    assert fake.tenant["spec"]["state"] == "Paused", "it is still asked for"


def test_somebody_who_changes_it_meanwhile_ends_the_wait() -> None:
    fake, clock = Fake(), Clock()

    def operator(fake: Fake) -> None:
        if clock.seconds > 2:
            fake.tenant["spec"]["state"] = "Suspended"

    fake.operator = operator
    with pytest.raises(Failed, match="acme is to be Suspended now: somebody else"):
        hibernate(fake, "acme", 60.0, clock.waiter())
