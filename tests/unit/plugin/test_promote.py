"""`promote`: what is asked for, and that the answer is the operator's to this very request."""

from __future__ import annotations

from typing import Any

import pytest
from unit.plugin.support import Clock, Fake

from okitoki_kubectl.commands.promote import SWITCHOVER, promote
from okitoki_kubectl.waiting import Failed

TIME = "2026-11-25T12:00:00.000000Z"


def answering(answer: dict[str, Any], primary: str = "postgres-2") -> Fake:
    """An operator that answers a request, and sees the new primary a look later."""

    def operator(fake: Fake) -> None:
        database = fake.tenant["status"]["database"]
        if asked := fake.tenant["metadata"]["annotations"].pop(SWITCHOVER, None):
            database["lastSwitchover"] = {"requested": asked, **answer}
        elif database["lastSwitchover"]["requested"] != "old":
            database["primary"] = primary

    made = Fake(operator)
    made.tenant["status"]["database"]["primary"] = "postgres-0"
    return made


@pytest.mark.parametrize(("member", "request_"), [(None, TIME), ("postgres-2", f"{TIME} postgres-2")])
def test_it_is_asked_for_once_and_the_new_primary_waited_for(member: str | None, request_: str) -> None:
    fake, clock = answering({"succeeded": True, "message": "postgres-0 has given its role away"}), Clock()
    [row] = promote(fake, "acme", member, clock.waiter())
    assert row == {
        "tenant": "acme", "from": "postgres-0", "to": "postgres-2", "result": "postgres-0 has given its role away",
    }  # fmt: skip
    assert fake.changes == [("acme", SWITCHOVER, request_)]
    assert clock.seconds < 10


def test_a_refusal_is_an_error_in_the_operators_words() -> None:
    fake = answering({"succeeded": False, "message": "postgres-1 is no synchronous standby: name postgres-2"})
    with pytest.raises(Failed, match=r"acme was not changed: postgres-1 is no synchronous standby: name postgres-2"):
        promote(fake, "acme", "postgres-1", Clock().waiter())


def test_the_answer_to_an_older_request_is_not_taken_for_this_ones() -> None:
    fake = Fake()
    with pytest.raises(Failed, match="no answer in 60 s: does the operator run"):
        promote(fake, "acme", None, Clock().waiter())
    assert len(fake.changes) == 1


def test_an_unknown_tenant_is_told_before_anything_is_asked_for() -> None:
    fake = Fake()
    with pytest.raises(Failed, match="there is no Tenant nobody: see kubectl okitoki status"):
        promote(fake, "nobody", None, Clock().waiter())
    assert fake.changes == []
