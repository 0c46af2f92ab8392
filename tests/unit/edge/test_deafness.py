"""Who hears nobody gives its addresses up; who merely hears nothing keeps them."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from okitoki_agents.edge.guard.deafness import ASK, HEARS, PEER, PROVEN, SILENT, Heard, Hearing, look, must_ask

ALL_WELL = [Heard(True, gateway=True, peer=True)]
SILENCE = [Heard(False, peer=True)]


def after(looks: Iterable[Heard], state: Hearing | None = None) -> tuple[Hearing, str, str]:
    state, action, reason = state or Hearing(), "", ""
    for heard in looks:
        state, decision = look(state, heard)
        action, reason = decision.action, decision.reason
    return state, action, reason


def test_a_node_that_hears_nobody_gives_its_addresses_up_after_so_many_looks() -> None:
    assert after(ALL_WELL + SILENCE * (SILENT - 1))[1] == "keep"
    _, action, reason = after(ALL_WELL + SILENCE * SILENT)
    assert action == "withdraw"
    assert reason == "nothing has come in for 2 s, not even an answer of the gateway, which answered until then"


def test_the_answer_of_the_gateway_is_something_that_is_heard() -> None:
    quiet = (SILENCE * (SILENT - 1) + [Heard(False, gateway=True)]) * 5
    assert after(ALL_WELL + quiet)[1] == "keep"


def test_without_a_gateway_that_answers_silence_proves_nothing() -> None:
    _, action, reason = after([Heard(True, peer=True)] + SILENCE * 10 * SILENT)
    assert action == "keep"
    assert "no gateway is known to answer" in reason
    stopped_answering = ALL_WELL + [Heard(True, peer=True)] * (PROVEN + 1)
    assert after(stopped_answering + SILENCE * SILENT)[1] == "keep"


def test_a_node_without_a_peer_keeps_what_nobody_else_could_have() -> None:
    alone = ALL_WELL + [Heard(True, gateway=True)] * (PEER + 1)
    _, action, reason = after(alone + [Heard(False)] * 10 * SILENT)
    assert action == "keep"
    assert "no peer" in reason
    assert after([Heard(True, gateway=True)] + [Heard(False)] * 10 * SILENT)[1] == "keep"


def test_a_peer_that_falls_silent_with_everything_else_does_not_make_the_node_alone() -> None:
    assert after(ALL_WELL + [Heard(False)] * SILENT)[1] == "withdraw"


def test_addresses_may_come_again_once_others_have_been_heard_for_a_while() -> None:
    deaf, action, _ = after(ALL_WELL + SILENCE * SILENT)
    assert action == "withdraw"
    assert after([Heard(True)] * (HEARS - 1), deaf)[1] == "withdraw"
    assert after([Heard(True)] * HEARS, deaf)[1] == "keep"
    # A packet now and then is no connection.
    assert after(([Heard(True)] + SILENCE * 6) * 50, deaf)[1] == "withdraw"


def test_the_gateway_is_asked_in_a_silence_and_now_and_then() -> None:
    assert must_ask(Hearing())
    well, _, _ = after(ALL_WELL)
    assert not must_ask(well)
    assert must_ask(after(SILENCE * ASK, well)[0])
    talk = [Heard(True, peer=True)]
    assert sum(must_ask(after(talk * count, well)[0]) for count in range(1, PROVEN)) == 4


@given(st.lists(st.builds(Heard, st.booleans(), st.booleans(), st.booleans())))
def test_addresses_are_never_given_up_by_a_node_that_has_just_heard_somebody(looks: list[Heard]) -> None:
    state = Hearing()
    for heard in looks:
        before = state
        state, decision = look(state, heard)
        if decision.action == "withdraw" and not before.deaf:
            assert not heard.anything
            assert not heard.gateway
            assert state.silent >= SILENT
        assert decision.reason
