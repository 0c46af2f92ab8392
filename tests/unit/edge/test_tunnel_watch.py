"""The guard and the tunnel's supervisor."""

from __future__ import annotations

from dataclasses import replace

from okitoki_agents.edge.guard.tunnel_watch import SILENT_LOOKS, STOPPED_LOOKS, Decision, Seen, Watched, look

GOOD = Seen(runs=True, stopped=False, spoke=True, state="ok")


def after(*looks: Seen) -> Decision:
    state = Watched()
    for seen in looks:
        state, decision = look(state, seen)
    return decision


def test_what_the_supervisor_says_is_the_state() -> None:
    assert after(GOOD).state == "ok"
    assert after(replace(GOOD, state="down")).state == "down"


def test_one_that_is_gone_is_kubelets_to_start() -> None:
    decision = after(GOOD, replace(GOOD, runs=False))
    assert (decision.action, decision.state) == ("keep", "down")


def test_one_that_is_stopped_is_killed_soon() -> None:
    stopped = replace(GOOD, stopped=True, spoke=False)
    assert after(GOOD, *[stopped] * (STOPPED_LOOKS - 1)) == after(GOOD, stopped)
    assert (after(GOOD, stopped).action, after(GOOD, stopped).state) == ("keep", "frozen")
    assert after(GOOD, *[stopped] * STOPPED_LOOKS).action == "kill"


def test_one_that_is_slow_is_given_time() -> None:
    silent = replace(GOOD, spoke=False)
    assert after(*[silent] * (SILENT_LOOKS - 1), GOOD, *[silent] * (SILENT_LOOKS - 1)).action == "keep"
    assert after(*[silent] * SILENT_LOOKS).action == "kill"


def test_a_pod_that_was_frozen_as_a_whole_is_not_held_against_it() -> None:
    assert after(GOOD, replace(GOOD, stopped=True), GOOD, *[replace(GOOD, stopped=True)] * 3).action == "keep"
