"""When a requested switchover is made, when it is refused, and that the agents are asked in their own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from aiohttp import web
from unit.operator.factory import a_database, a_tenant, member, what_is_observed

from okitoki.api.tenant import Tenant
from okitoki.database.agent_api import AgentApi, AgentError
from okitoki.database.rebuild import Losses, LostMember
from okitoki.database.state import DatabaseState
from okitoki.database.switchover import decide_switchover
from okitoki.kube import labels
from okitoki.tenant import decide
from okitoki_agents.database.decisions import Verdict
from okitoki_agents.database.peers import Answer, application, refusal

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
REQUEST = "2026-11-25T11:59:30.123456Z"
LOST = Losses((LostMember("postgres-2", "node-c", NOW, "claim", None),))


def test_a_whole_cluster_changes_its_primary_on_request() -> None:
    found = decide_switchover(REQUEST, a_database(), Losses(), 3, NOW)
    assert found.primary is not None
    assert (found.primary.name, found.reason) == ("postgres-0", "postgres-0 gives its role away, as requested")


NO_PRIMARY = a_database(members=(member("postgres-0"), member("postgres-1"), member("postgres-2")))
ONE_AWAY = a_database(members=(member("postgres-0", "primary"), member("postgres-1")))
ONE_COPIES = a_database(
    members=(member("postgres-0", "primary"), member("postgres-1"), member("postgres-2", state="creating replica"))
)


@pytest.mark.parametrize(
    ("request_", "state", "losses", "words"),
    [
        ("yes please", a_database(), Losses(), "is no time with a zone"),
        ("2026-11-25T11:59:30", a_database(), Losses(), "is no time with a zone"),
        ((NOW - timedelta(seconds=121)).isoformat(), a_database(), Losses(), "more than 120 s from now: ask again"),
        ((NOW + timedelta(seconds=121)).isoformat(), a_database(), Losses(), "more than 120 s from now: ask again"),
        (REQUEST, NO_PRIMARY, Losses(), "a failover may be under way"),
        (REQUEST, ONE_AWAY, Losses(), "2 of 3 members are in order"),
        (REQUEST, ONE_COPIES, Losses(), "2 of 3 members are in order"),
        (REQUEST, a_database(), LOST, "mend that first"),
        (REQUEST, a_database(voters=()), Losses(), "no synchronous standby"),
    ],
)
def test_it_is_refused_with_the_mend(request_: str, state: DatabaseState, losses: Losses, words: str) -> None:
    found = decide_switchover(request_, state, losses, 3, NOW)
    assert found.primary is None
    assert words in found.reason


def test_a_member_that_is_named_and_fit_gets_the_role() -> None:
    found = decide_switchover(f"{REQUEST} postgres-2", a_database(), Losses(), 3, NOW)
    assert found.primary is not None
    assert (found.primary.name, found.to) == ("postgres-0", "postgres-2")
    assert found.reason == "postgres-0 gives its role to postgres-2, as requested"


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("postgres-7", a_database(), "there is no member 'postgres-7': name postgres-1, postgres-2"),
        ("postgres-0", a_database(), "is the primary already"),
        ("postgres-2", ONE_COPIES, "postgres-2 is not in order (its state is creating replica): mend it"),
        ("postgres-2", a_database(voters=("postgres-1",)), "is no synchronous standby, it may lack"),
        ("postgres-1", ONE_AWAY, "2 of 3 members are in order"),
        ("postgres-1", NO_PRIMARY, "a failover may be under way"),
        ("postgres-1", a_database(voters=()), "is no synchronous standby, it may lack the latest writes: wait until"),
    ],
)
def test_a_member_that_is_not_fit_is_refused_by_name_and_the_mend_names_others(
    name: str, state: DatabaseState, words: str
) -> None:
    found = decide_switchover(f"{REQUEST} {name}", state, Losses(), 3, NOW)
    assert (found.primary, found.to) == (None, None)
    assert words in found.reason


def test_who_is_named_reaches_the_agents() -> None:
    action = decide.switch_over(asked(f"{REQUEST} postgres-1"), what_is_observed(now=NOW))
    assert action is not None
    assert (action.data["address"], action.data["to"]) == ("198.19.0.1", "postgres-1")


def asked(value: str) -> Tenant:
    tenant = a_tenant()
    metadata = tenant.metadata.model_copy(update={"annotations": {labels.SWITCHOVER: value}})
    return tenant.model_copy(update={"metadata": metadata})


def test_without_the_annotation_nothing_is_done() -> None:
    assert decide.switch_over(a_tenant(), what_is_observed(now=NOW)) is None


@pytest.mark.parametrize(("value", "address"), [(REQUEST, "198.19.0.1"), ("2020-01-01T00:00:00Z", None)])
def test_the_action_has_the_address_only_when_it_is_to_happen(value: str, address: str | None) -> None:
    action = decide.switch_over(asked(value), what_is_observed(now=NOW))
    assert action is not None
    assert action.data == {"requested": value, "address": address, "to": None}


class Agent:
    """What the agent of the primary answers to `handover`."""

    answer = Answer(Verdict(True, "postgres-1 has taken over"))
    calls = 0
    asked: Mapping[str, Any] = {}

    async def handover(self, question: Mapping[str, Any]) -> Answer:
        self.calls += 1
        self.asked = question
        return self.answer


@pytest.fixture
async def agent() -> AsyncIterator[tuple[Agent, int]]:
    """The agents' real HTTP side on loopback."""
    made = Agent()
    runner = web.AppRunner(application("secret", {"handover": made.handover}, dict))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield made, int(cast(Any, site._server).sockets[0].getsockname()[1])
    await runner.cleanup()


async def test_the_agent_understands_the_operator(agent: tuple[Agent, int]) -> None:
    made, port = agent
    assert await AgentApi(port).handover("127.0.0.1", "secret") == "postgres-1 has taken over"
    assert (made.calls, made.asked) == (1, {})
    assert await AgentApi(port).handover("127.0.0.1", "secret", "postgres-1") == "postgres-1 has taken over"
    assert made.asked == {"to": "postgres-1"}


async def test_an_agent_that_does_not_know_names_is_found_out(agent: tuple[Agent, int]) -> None:
    with pytest.raises(AgentError, match="postgres-1 has taken over: the agents are of a version"):
        await AgentApi(agent[1]).handover("127.0.0.1", "secret", "postgres-2")


async def test_the_agents_refusal_is_told_in_its_words(agent: tuple[Agent, int]) -> None:
    made, port = agent
    made.answer = refusal("nobody could take over now")
    with pytest.raises(AgentError, match=r"^nobody could take over now$"):
        await AgentApi(port).handover("127.0.0.1", "secret")


async def test_a_wrong_token_is_refused_and_not_told(agent: tuple[Agent, int]) -> None:
    made, port = agent
    with pytest.raises(AgentError, match=r"^wrong token$"):
        await AgentApi(port).handover("127.0.0.1", "hunter2")
    assert made.calls == 0


async def test_no_answer_sends_the_person_to_look() -> None:
    with pytest.raises(AgentError, match="look who is the primary"):
        await AgentApi(1).handover("127.0.0.1", "secret")
