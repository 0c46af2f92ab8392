"""One authority follows another: which step is due, and that no order of events breaks the two rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okitoki.kube.authority import AuthoritySet
from okitoki.kube.pki import Authority, new_authority
from okitoki.kube.rotation import Report, next_step

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ASKED = (NOW + timedelta(hours=1)).isoformat()
LATER = NOW + timedelta(hours=2)
OLD, NEW = Authority(new_authority(NOW)), Authority(new_authority(LATER))


def word(name: str, authority: str | None = OLD.id, *trusted: str) -> Report:
    return Report(name, authority, frozenset(trusted or (OLD.id,)))


def step(found: AuthoritySet, *reports: Report, now: datetime = LATER) -> tuple[str, str]:
    decided = next_step(found, reports, now)
    return decided.action, decided.reason


def test_at_rest_nothing_is_due() -> None:
    assert step(AuthoritySet(OLD)) == ("rest", "")
    assert step(AuthoritySet(OLD, requested="2020-01-01T00:00:00Z")) == ("rest", "")


def test_a_rotation_begins_at_two_thirds_of_a_life_or_when_asked_for() -> None:
    assert step(AuthoritySet(OLD), now=OLD.due - timedelta(seconds=1))[0] == "rest"
    action, reason = step(AuthoritySet(OLD), now=OLD.due)
    assert action == "begin"
    assert "two thirds" in reason
    action, reason = step(AuthoritySet(OLD, requested=ASKED))
    assert (action, reason) == ("begin", f"a successor of authority {OLD.id} is asked for")


def test_a_request_without_a_time_is_refused_with_the_mend() -> None:
    action, reason = step(AuthoritySet(OLD, requested="now"))
    assert action == "refuse"
    assert "no time with a zone" in reason


def test_the_successor_of_a_companys_authority_is_the_companys() -> None:
    action, reason = step(AuthoritySet(OLD, own=False, requested=ASKED))
    assert action == "refuse"
    assert "next.crt and next.key" in reason
    given_one = AuthoritySet(OLD, own=False, next=NEW)
    assert step(given_one, word("Tenant acme", OLD.id, OLD.id, NEW.id))[0] == "promote"


def test_a_successor_that_cannot_be_one_is_refused() -> None:
    assert step(AuthoritySet(OLD, problem="next.key is missing"))[0] == "refuse"
    ended = AuthoritySet(OLD, next=NEW)
    assert step(ended, word("Tenant acme", OLD.id, NEW.id), now=NEW.expires)[0] == "refuse"


def test_it_is_not_used_before_everything_trusts_it() -> None:
    found = AuthoritySet(OLD, next=NEW)
    good, bad = word("Tenant acme", OLD.id, OLD.id, NEW.id), word("VoiceRegion kyiv")
    action, reason = step(found, good, bad)
    assert (action, reason) == ("wait", f"authority {NEW.id} is not trusted yet by VoiceRegion kyiv")
    assert step(found, good)[0] == "promote"
    assert step(found)[0] == "promote"


def test_the_old_one_is_trusted_until_nothing_of_it_is_shown() -> None:
    found = AuthoritySet(NEW, previous=OLD.certificate)
    new, old, unknown = (word(f"Tenant {name}", shown) for name, shown in (("a", NEW.id), ("b", OLD.id), ("c", None)))
    action, reason = step(found, new, old, unknown)
    assert action == "wait"
    assert reason.endswith("Tenant b, Tenant c")
    assert step(found, new)[0] == "retire"


def test_a_new_request_waits_for_the_rotation_under_way() -> None:
    found = AuthoritySet(NEW, previous=OLD.certificate, next=OLD, requested=ASKED)
    assert step(found, word("Tenant a", None))[0] == "wait"
    assert step(found, word("Tenant a", NEW.id))[0] == "retire"


def test_many_that_are_waited_for_are_counted() -> None:
    reason = step(AuthoritySet(OLD, next=NEW), *(word(f"Tenant t{number:02}") for number in range(40)))[1]
    assert reason.endswith("Tenant t03, Tenant t04 and 35 more")


@pytest.mark.parametrize("requested", ["", ASKED])
def test_a_step_that_was_taken_is_not_due_again(requested: str) -> None:
    """The Secret after `retire` is the Secret at rest: the request is met by the authority's age."""
    assert step(AuthoritySet(NEW, requested=requested))[0] == "rest"


@dataclass
class Platform:
    """The Secret, and resources of which each has a bundle in force and a server certificate in force. Given values
    reach them late and in any order, and what they report may be older still."""

    secret: AuthoritySet = field(default_factory=lambda: AuthoritySet(OLD, requested=ASKED))
    trust: list[frozenset[str]] = field(default_factory=lambda: [frozenset({OLD.id})] * 3)
    shown: list[str] = field(default_factory=lambda: [OLD.id] * 3)
    reports: list[Report] = field(default_factory=lambda: [word(f"{n}") for n in range(3)])

    def leads(self) -> str:
        """The leader looks once, and may die right after its write: nothing else is kept."""
        action = next_step(self.secret, self.reports, LATER).action
        if action == "begin":
            self.secret = replace(self.secret, next=NEW)
        elif action == "promote":
            self.secret = replace(self.secret, current=NEW, previous=OLD.certificate, next=None)
        elif action == "retire":
            self.secret = replace(self.secret, previous="")
        return action

    def happens(self, what: str, who: int) -> None:
        match what:
            case "lead":
                self.leads()
            case "bundle":
                self.trust[who] = self.secret.ids
            case "certificate":
                self.shown[who] = self.secret.current.id
            case "report":
                authority = self.secret.current.id if self.shown[who] == self.secret.current.id else None
                self.reports[who] = Report(str(who), authority, self.trust[who] & self.secret.ids)

    def check(self) -> None:
        """Everybody accepts what anybody shows."""
        for shown in self.shown:
            assert all(shown in trusted for trusted in self.trust)


EVENTS = st.tuples(st.sampled_from(["lead", "bundle", "certificate", "report"]), st.integers(0, 2))


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_no_order_of_events_makes_a_certificate_refused_and_every_rotation_ends(events: list[tuple[str, int]]) -> None:
    platform = Platform()
    platform.check()
    for what, who in events:
        platform.happens(what, who)
        platform.check()
    for _ in range(4):
        platform.happens("lead", 0)
        for what in ("bundle", "certificate", "report"):
            for who in range(3):
                platform.happens(what, who)
                platform.check()
    assert platform.secret.previous == ""
    assert platform.secret.next is None
    assert platform.shown == [platform.secret.current.id] * 3
    assert platform.leads() == "rest"
