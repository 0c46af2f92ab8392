"""What a process used, from the kernel's files and its metrics page."""

from __future__ import annotations

import os

import pytest
from bench import measure

PAGE = """
# TYPE controller_runtime_reconcile counter
controller_runtime_reconcile_total{controller="tenant",result="success"} 7.0
controller_runtime_reconcile_total{controller="tenant",result="requeue_after"} 3.0
controller_runtime_reconcile_total{controller="voiceregion",result="success"} 100.0
# TYPE workqueue_depth gauge
workqueue_depth{name="tenant",priority="0"} 2.0
workqueue_depth{name="voiceregion"} 50.0
# TYPE leader_election_master_status gauge
leader_election_master_status{name="peer"} 1.0
"""


def test_cpu_is_user_and_system_time_also_of_a_program_with_strange_name() -> None:
    before = "12 (a (b) c) S 1 12 12 0 -1 4194304 100 0 0 0"
    assert measure.cpu_seconds(f"{before} 150 50 0 0 20") == 200 / measure.TICKS


def test_memory_is_told_in_mebibytes_and_an_unknown_field_is_an_error() -> None:
    status = "Name:\tx\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n"
    assert measure.memory_mib(status, "VmHWM") == 200
    assert measure.memory_mib(status, "VmRSS") == 100
    with pytest.raises(KeyError):
        measure.memory_mib(status, "VmSize")


def test_this_process_has_used_something() -> None:
    use = measure.ProcessUse([os.getpid()])
    assert use.cpu() > 0
    resident = use.memory("VmRSS")
    assert use.memory("VmHWM") >= resident > 1


def test_reconciles_of_tenants_whatever_their_result_and_labels() -> None:
    assert measure.reconciles(PAGE) == (10, 2)
    assert measure.reconciles("") == (0, 0)


def test_only_a_holder_of_the_lease_leads() -> None:
    assert measure.leads(PAGE)
    assert not measure.leads(PAGE.replace('"peer"} 1.0', '"peer"} 0.0'))
    assert not measure.leads("")
