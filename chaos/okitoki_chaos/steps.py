"""What a fault does, as data: to be printed before it is done, written down, and undone by another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Tool = Literal["kubectl", "node", "machine"]
POLL_SECONDS = 10.0


@dataclass(frozen=True)
class Step:
    """One command. `kubectl`: its arguments; `node`: a command on the node `where[0]`; `machine`: a verb for the
    machines `where` (pause, unpause, kill, start NETWORK ADDRESS, state)."""

    tool: Tool
    arguments: tuple[str, ...]
    where: tuple[str, ...] = ()
    words: str = ""

    def __str__(self) -> str:
        place = f" on {', '.join(self.where)}" if self.where else ""
        return self.words or f"{self.tool} {_shortened(self.arguments)}{place}"


@dataclass(frozen=True)
class Check:
    """A step whose output (or error) must match a pattern (re.search) within some seconds."""

    words: str
    step: Step
    pattern: str
    within: float = POLL_SECONDS


@dataclass(frozen=True)
class Plan:
    """One fault on one target. Undo steps may be done twice, or when the fault never came to be: `healed` decides."""

    fault: str
    target: str
    inject: tuple[Step, ...]
    bit: tuple[Check, ...]
    undo: tuple[Step, ...] = ()
    healed: tuple[Check, ...] = ()
    namespaces: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All that is done or asked for it."""
        return (*self.inject, *self.undo, *(check.step for check in (*self.bit, *self.healed)))

    def lines(self) -> list[str]:
        """What `--dry-run` prints."""
        return [
            f"{self.fault} on {self.target}",
            *(f"  inject: {step}" for step in self.inject),
            *(f"  proof:  {check.words}" for check in self.bit),
            *(f"  undo:   {step}" for step in self.undo),
            *(f"  proof:  {check.words}" for check in self.healed),
        ]


def step_of(value: Mapping[str, Any]) -> Step:
    return Step(value["tool"], tuple(value["arguments"]), tuple(value["where"]), value["words"])


def check_of(value: Mapping[str, Any]) -> Check:
    return Check(value["words"], step_of(value["step"]), value["pattern"], value["within"])


def plan_of(value: Mapping[str, Any]) -> Plan:
    """A plan out of its JSON."""
    return Plan(
        fault=value["fault"],
        target=value["target"],
        inject=tuple(map(step_of, value["inject"])),
        bit=tuple(map(check_of, value["bit"])),
        undo=tuple(map(step_of, value["undo"])),
        healed=tuple(map(check_of, value["healed"])),
        namespaces=tuple(value["namespaces"]),
        nodes=tuple(value["nodes"]),
        facts=dict(value["facts"]),
    )


def together(plans: Sequence[Plan]) -> Plan:
    """Several faults as one: injected in order, undone the other way round."""
    return Plan(
        fault=" and ".join(plan.fault for plan in plans),
        target=" and ".join(plan.target for plan in plans),
        inject=tuple(step for plan in plans for step in plan.inject),
        bit=tuple(check for plan in plans for check in plan.bit),
        undo=tuple(step for plan in reversed(plans) for step in plan.undo),
        healed=tuple(check for plan in reversed(plans) for check in plan.healed),
        namespaces=tuple(dict.fromkeys(name for plan in plans for name in plan.namespaces)),
        nodes=tuple(dict.fromkeys(name for plan in plans for name in plan.nodes)),
        facts={plan.fault: dict(plan.facts) for plan in plans},
    )


def _shortened(arguments: Sequence[str]) -> str:
    return " ".join(one if "\n" not in one else "SCRIPT" for one in arguments)
