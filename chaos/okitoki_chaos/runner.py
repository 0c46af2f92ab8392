"""Runs the experiments of one session, one after another, by Chaos Toolkit's own library (in the drill image)."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from okitoki_chaos import experiments
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.observers import Observers
from okitoki_chaos.plan import Item
from okitoki_chaos.session import Session, use
from okitoki_chaos.stalls import StallMeter

DONE, NOT_POSSIBLE, REFUSED, FAILED, NOT_WHOLE = "done", "not possible", "refused", "failed", "not whole"
INTERRUPTED = "interrupted"
"""Chaos Toolkit's word for an experiment during which SystemExit was raised."""
ENDED = 143
SETTINGS = {"runtime": {"rollbacks": {"strategy": "always"}}}
Say = Callable[[str], None]
Execute = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def end_in_order() -> None:
    """From now on SIGTERM ends this process by way of all `finally`: what is open is undone, the lock given back. Once
    only, since the undoing must not be cut short."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(ENDED)

    signal.signal(signal.SIGTERM, end)


def execute(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """One experiment by chaoslib; its journal. Needs Python 3.12, hence here and not above."""
    from chaoslib.experiment import ensure_experiment_is_valid, run_experiment
    from chaoslib.types import Strategy

    logging.getLogger("chaostoolkit").setLevel(logging.CRITICAL)  # what matters is told by the controls
    ensure_experiment_is_valid(document)
    journal: Mapping[str, Any] = run_experiment(document, settings=SETTINGS, strategy=Strategy.DEFAULT)
    return journal


def conclude(outcome: Mapping[str, Any], journal: Mapping[str, Any]) -> tuple[str, str | None]:
    """What became of an experiment, and why it is not `done`. Pure.

    `done` says that the fault was injected, bit, was undone by the drill itself, and that all was well again. What it
    did to the clients is judged afterwards, from their own records.
    """
    if outcome["notPossible"]:
        return NOT_POSSIBLE, outcome["notPossible"]
    if outcome["refused"]:
        return REFUSED, outcome["refused"]
    if outcome["at"] is None:
        return FAILED, outcome["error"] or _before(journal)
    if outcome["bitAt"] is None:
        return FAILED, outcome["error"] or "it was not seen that the fault bit"
    if outcome["healedBy"] not in {None, "runner"}:
        return FAILED, f"the fault was ended by the {outcome['healedBy']}, not by the drill"
    bad = [run["activity"]["name"] for run in journal.get("run", []) if run["status"] != "succeeded"]
    if bad:
        return FAILED, outcome["error"] or f"{', '.join(bad)} failed"
    if outcome["wholeAt"] is None:
        after = (journal.get("steady_states") or {}).get("after") or {}
        outputs = [str(probe.get("output")) for probe in after.get("probes", [])]
        return NOT_WHOLE, "; ".join(outputs) or "whether all was well again was not seen"
    if journal["status"] != "completed":
        return FAILED, f"Chaos Toolkit ended with {journal['status']}"
    return DONE, None


def _before(journal: Mapping[str, Any]) -> str:
    before = (journal.get("steady_states") or {}).get("before") or {}
    outputs = [str(probe.get("output")) for probe in before.get("probes", [])]
    return f"not everything was well before: {'; '.join(outputs)}" if outputs else "nothing was injected"


class Runner:
    """One session's items, with observers and the drill's own stalls beside them."""

    def __init__(self, session: Session, folder: Path, say: Say, run: Execute = execute) -> None:
        self._session = session
        self._folder = folder
        self._say = say
        self._run = run
        use(session)

    def go(self, items: Sequence[Item], hours: float | None = None) -> bool:
        """Run them in order, for so many hours. False when one left the platform broken: what would
        follow would be no single fault."""
        until = None if hours is None else time.monotonic() + hours * 3600
        session = self._session
        with session.lock:
            try:
                return self._all(items, until)
            finally:
                session.heal()

    def _all(self, items: Sequence[Item], until: float | None) -> bool:
        session = self._session
        with Observers(session.driver.cluster.context, session.timeline), StallMeter(session.timeline):
            for number, item in enumerate(items, 1):
                if until is not None and time.monotonic() > until:
                    break
                self._say(f"  {number} of {len(items)}: {item.name} on {item.tenant}")
                if broken(self.one(item)):
                    return False
        return True

    def one(self, item: Item) -> Mapping[str, Any]:
        """Run one item; its line goes to results.jsonl, chaoslib's journal to a file of its own."""
        session = self._session
        session.begin(item.index)
        experiment = experiments.load(item.experiment)
        document = experiment.configured(
            tenant=item.tenant, region=session.settings.regions[0], moment=item.moment, **item.set
        )
        session.timeline.note("experiment", name=item.name, tenant=item.tenant)
        begun = session.timeline.now()
        try:
            journal = self._run(document)
        except ChaosError as error:
            journal = {"status": "failed", "run": []}
            session.outcome.error = str(error)
        outcome = session.outcome.as_json()
        if journal["status"] == INTERRUPTED:
            # Nothing is concluded by it: whoever goes on runs this item again.
            raise SystemExit(ENDED)
        what, why = conclude(outcome, journal)
        result = {
            **outcome,
            "name": item.name,
            "experiment": item.experiment,
            "title": experiment.title,
            "row": experiment.row,
            "goals": dict(experiment.goals),
            "mustFail": list(experiment.must_fail),
            "tenant": item.tenant,
            "repetition": item.repetition,
            "begun": begun,
            "ended": session.timeline.now(),
            "outcome": what,
            "error": why,
        }
        session.timeline.note("concluded", name=item.name, outcome=what, why=why)
        self._keep(item, result, journal)
        self._say(f"    {line_of(result)}; {session.load.summary()}")
        return result

    def _keep(self, item: Item, result: Mapping[str, Any], journal: Mapping[str, Any]) -> None:
        folder = self._folder / "experiments"
        folder.mkdir(exist_ok=True)
        text = json.dumps(journal, indent=1, default=str)
        (folder / f"{item.name}.json").write_text(text, encoding="utf-8")
        with (self._folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


def broken(result: Mapping[str, Any]) -> bool:
    """Whether the platform was not well at the end of an experiment, or never well before it. Pure."""
    return result["wholeAt"] is None and result["outcome"] not in {NOT_POSSIBLE, REFUSED}


def line_of(result: Mapping[str, Any]) -> str:
    """One line of progress. Pure."""
    if result["outcome"] != DONE:
        return f"{result['outcome']}: {result['error']}"
    whole = result["wholeAt"] - result["at"]
    return f"{result['fault']} on {result['target']}: whole again after {whole:.1f} s"
