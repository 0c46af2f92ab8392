"""How often what others change is set back."""

from __future__ import annotations

from okitoki.kube.drift import AT_ONCE, FORGET_SECONDS, LONGEST_SECONDS, Repairs, others, pause_after
from okitoki.kube.resources import ObjectKey

KEY = ObjectKey("Deployment", "tenant-acme", "app")


def test_pauses_grow_to_a_bound() -> None:
    pauses = [pause_after(count) for count in range(40)]
    assert pauses[:AT_ONCE] == [0.0] * AT_ONCE
    assert pauses[AT_ONCE:] == sorted(pauses[AT_ONCE:])
    assert pauses[-1] == LONGEST_SECONDS


def test_two_managers_that_both_insist_for_a_day_cost_a_bounded_number_of_writes() -> None:
    """The other one writes at once after each of our writes."""
    now = [0.0]
    repairs, writes = Repairs(lambda: now[0]), 0
    while now[0] < 86400:
        if wait := repairs.wait(KEY):
            now[0] += wait
            continue
        repairs.written(KEY, "hash", again=True)
        writes += 1
    assert writes < 86400 / LONGEST_SECONDS + 15


def test_an_object_that_is_left_alone_starts_anew() -> None:
    now = [0.0]
    repairs = Repairs(lambda: now[0])
    for _ in range(6):
        repairs.written(KEY, "hash", again=True)
    assert repairs.wait(KEY) > 0
    now[0] = FORGET_SECONDS + 1
    assert repairs.wait(KEY) == 0
    assert not repairs.knows(KEY, "hash")


def test_other_content_is_written_at_once() -> None:
    repairs = Repairs(lambda: 0.0)
    for _ in range(6):
        repairs.written(KEY, "hash", again=True)
    assert not repairs.knows(KEY, "other")
    repairs.written(KEY, "other", again=False)
    assert repairs.wait(KEY) == 0


def test_who_it_was_is_read_from_the_managed_fields() -> None:
    fields = [
        {"manager": "okitoki-operator", "time": "2026-11-25T12:00:09Z"},
        {"manager": "kube-controller-manager", "subresource": "status", "time": "2026-11-25T12:00:08Z"},
        {"manager": "kubectl-edit", "time": "2026-11-25T12:00:02Z"},
        {"manager": "argocd", "time": "2026-11-25T12:00:05Z"},
    ]
    assert others({"metadata": {"managedFields": fields}}) == "argocd, kubectl-edit"
    assert others({"metadata": {}}) == "somebody"
