"""Every file of chaos/experiments and chaos/plans keeps to one shape, and names only what there is."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from okitoki_chaos import experiments, plan
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.faults import FAULTS
from okitoki_chaos.judge import GOALS

NAMES = experiments.names()
# The rows of the promise, of database and app and of the voice edge, each with an experiment.
ROWS = 8 + 8


def activities(document: Any) -> list[dict[str, Any]]:
    return [*document["steady-state-hypothesis"]["probes"], *document["method"], *document["rollbacks"]]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_file_calls_is_there_and_takes_what_it_is_given(name: str) -> None:
    for activity in activities(experiments.load(name).document):
        provider = activity["provider"]
        function = getattr(importlib.import_module(provider["module"]), provider["func"])
        inspect.signature(function).bind(**provider.get("arguments", {}))


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_proved_held_and_undone_whatever_happens(name: str) -> None:
    document = experiments.load(name).document
    functions = [activity["provider"]["func"] for activity in document["method"]]
    assert functions.index("inject") < functions.index("bit") < functions.index("hold") < functions.index("heal")
    assert [activity["provider"]["func"] for activity in document["rollbacks"]] == ["heal"]
    assert document["steady-state-hypothesis"]["probes"][0]["tolerance"] == "whole"


@pytest.mark.parametrize("name", NAMES)
def test_faults_and_goals_are_known(name: str) -> None:
    experiment = experiments.load(name)
    assert {fault["fault"] for fault in experiment.faults} <= set(FAULTS)
    assert set(experiment.goals) <= set(GOALS)


def test_every_fault_has_an_experiment() -> None:
    used = {fault["fault"] for name in NAMES for fault in experiments.load(name).faults}
    assert set(FAULTS) - used == set()


def test_every_row_of_the_promise_has_an_experiment_and_nine_repetitions() -> None:
    rows = {name: experiments.load(name).row for name in NAMES if experiments.load(name).row}
    assert len(set(rows.values())) == ROWS
    times = {
        entry["experiment"]: entry.get("times", 1) for name in ("full", "voice") for entry in plan.read(name)["items"]
    }
    # Hours without a fault are not nine times as many faults.
    assert {name: times.get(name) for name in rows} == dict.fromkeys(rows, 9) | {"edge-quiet": 1}


@pytest.mark.parametrize("name", ["each", "full"])
def test_the_full_plan_has_every_experiment_but_the_controls(name: str) -> None:
    listed = {entry["experiment"] for entry in plan.read(name)["items"]}
    assert listed == {name for name in NAMES if not experiments.load(name).must_fail}


def test_the_controls_are_a_plan_with_a_session_for_each() -> None:
    made = plan.make(plan.read("controls"), 1, ["acme"])
    assert {item.experiment for item in made.items} == {name for name in NAMES if experiments.load(name).must_fail}
    assert [len(items) for items in made.sessions()] == [1] * len(made.items)


@pytest.mark.parametrize("name", ["smoke", "each", "full", "voice", "soak", "controls"])
def test_a_plan_names_experiments_that_are_there_and_sets_what_they_have(name: str) -> None:
    for item in plan.make(plan.read(name), 1, ["acme"], hours=1).items:
        experiments.load(item.experiment).configured(tenant="acme", moment=item.moment, **item.set)


def test_the_same_seed_makes_the_same_plan_and_another_one_another() -> None:
    def made(seed: int) -> plan.Plan:
        return plan.make(plan.read("full"), seed, ["acme", "globex"])

    assert made(7) == made(7)
    assert [item.moment for item in made(7).items] != [item.moment for item in made(8).items]
    assert {item.tenant for item in made(7).items} == {"acme", "globex"}


def test_a_plan_survives_the_disk() -> None:
    import json

    made = plan.make(plan.read("smoke"), 1, ["acme"])
    assert plan.of_json(json.loads(json.dumps(made.as_json()))) == made


def test_only_the_named_are_kept_and_none_is_an_error() -> None:
    made = plan.make(plan.read("full"), 1, ["acme"], only=["primary-frozen"])
    assert {item.experiment for item in made.items} == {"primary-frozen"}
    with pytest.raises(ChaosError, match="has none of nothing"):
        plan.make(plan.read("full"), 1, ["acme"], only=["nothing"])


def test_unknown_names_are_told_with_the_known() -> None:
    with pytest.raises(ChaosError, match=r"there are .*primary-frozen"):
        experiments.load("meteor")
    with pytest.raises(ChaosError, match=r"there are .*smoke"):
        plan.read("meteor")
    with pytest.raises(ChaosError, match="wind is not in its configuration"):
        experiments.load("primary-frozen").configured(wind=1)
