"""HAProxy's configuration: slots, structure, and the way from what runs to what is wanted."""

from pathlib import Path

import pytest
from unit.edge_agent.support import tenant

from okitoki_agents.edge.agent import haproxy
from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.haproxy_config import (
    Files,
    Rendered,
    Slot,
    TenantBackend,
    assign_slots,
    carry_over,
    parse_servers_state,
    render,
    slot_commands,
    tenant_backends,
)

FILES = Files(Path("/var/lib/edge/haproxy"), Path("/run/edge/haproxy"), Path("/etc/okitoki/ca/ca.crt"))
HEADER = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n"


def ready(*addresses: str) -> list[Backend]:
    return [Backend(address) for address in addresses]


def rendered(*slots: Slot, pem: bytes = b"PEM", ca: bytes = b"CA", host: str = "acme.kyiv.okitoki.test") -> Rendered:
    tenants = (TenantBackend("acme", host, "app.tenant-acme.svc", 8443, slots),)
    return render(haproxy.template(), FILES, "198.18.16.203", 443, pem, ca, tenants)


def test_pods_keep_their_slots_when_others_come_and_go() -> None:
    slots = assign_slots((), ready("10.0.0.1", "10.0.0.2"))
    assert [slot.address for slot in slots] == ["10.0.0.1", "10.0.0.2", "127.0.0.1", "127.0.0.1"]
    slots = assign_slots(slots, ready("10.0.0.2", "10.0.0.3"))
    assert slots[1] == Slot("10.0.0.2", "ready")
    assert slots[0] == Slot("10.0.0.3", "ready")
    assert slots[2:] == (Slot(), Slot())


def test_a_pod_that_ends_is_drained_and_then_gone() -> None:
    slots = assign_slots((), [Backend("10.0.0.1", terminating=True), Backend("10.0.0.2")])
    assert [slot.state for slot in slots] == ["drain", "ready", "maint", "maint"]
    assert assign_slots(slots, ready("10.0.0.2"))[0] == Slot()


def test_slots_double_and_never_shrink() -> None:
    slots = assign_slots((), ready(*(f"10.0.0.{number}" for number in range(1, 6))))
    assert len(slots) == 8
    assert len(assign_slots(slots, ready("10.0.0.1"))) == 8


def test_pods_change_the_text_and_not_the_structure() -> None:
    one, two = rendered(Slot("10.0.0.1", "ready"), Slot()), rendered(Slot(), Slot("10.0.0.9", "ready"))
    assert one.structure == two.structure
    assert one.config != two.config


def test_tenants_certificates_and_more_slots_change_the_structure() -> None:
    base = rendered(Slot()).structure
    assert rendered(Slot(), Slot()).structure != base
    assert rendered(Slot(), pem=b"OTHER").structure != base
    assert rendered(Slot(), host="beta.kyiv.okitoki.test").structure != base


def test_the_text_says_what_matters() -> None:
    text = rendered(Slot("10.0.0.1", "ready"), Slot("10.0.0.2", "drain"), Slot()).config.decode()
    assert "bind 198.18.16.203:443 ssl crt /var/lib/edge/haproxy/tls-" in text
    assert "server s1 10.0.0.1:8443 check\n" in text
    assert "server s2 10.0.0.2:8443 check\n" in text
    assert "server s3 127.0.0.1:8443 check disabled\n" in text
    assert "server b1 10.0.0.1:8443 backup\n" in text
    assert f"verify required ca-file {FILES.authorities(b'CA')}" in text
    assert "verifyhost app.tenant-acme.svc" in text
    assert "timeout server 10s" in text
    assert "set-timeout server 2500 if repeatable" in text
    assert "disable-l7-retry unless repeatable" in text
    assert "acl repeatable method GET HEAD PUT OPTIONS\n" in text
    assert "acl repeatable req.hdr(Idempotency-Key) -m found\n" in text
    assert "status 421" in text
    assert "outcome_unknown" in next(line for line in text.splitlines() if "txn.conn_retries gt 0" in line)


def test_companions_are_named_by_their_content() -> None:
    made = rendered(Slot())
    assert b"acme.kyiv.okitoki.test tenant_acme\n" in made.companions.values()
    assert all(str(path) in made.config.decode() for path in made.companions)


def state(*servers: tuple[str, str, int]) -> str:
    return HEADER + "".join(f"4 tenant_acme 1 {name} {address} 2 {admin} 1\n" for name, address, admin in servers)


def test_admin_states_are_read_from_their_bits() -> None:
    found = parse_servers_state(state(("s1", "10.0.0.1", 0), ("s2", "10.0.0.2", 8), ("s3", "127.0.0.1", 5)))
    assert found == {
        ("tenant_acme", "s1"): Slot("10.0.0.1", "ready"),
        ("tenant_acme", "s2"): Slot("10.0.0.2", "drain"),
        ("tenant_acme", "s3"): Slot("127.0.0.1", "maint"),
    }
    with pytest.raises(ValueError, match="version 1"):
        parse_servers_state("2\n")


def commands(wanted: Slot, running: Slot) -> list[str]:
    backend = TenantBackend("acme", "h", "s", 8443, (wanted,))
    found = slot_commands([backend], {("tenant_acme", "s1"): running, ("tenant_acme", "b1"): running})
    assert [line.replace("/b1", "/s1") for line in found[len(found) // 2 :]] == found[: len(found) // 2]
    return [line.removeprefix("set server tenant_acme/s1 ") for line in found[: len(found) // 2]]


@pytest.mark.parametrize(
    ("wanted", "running", "expected"),
    [
        (Slot("10.0.0.1", "ready"), Slot("10.0.0.1", "ready"), []),
        (Slot("10.0.0.1", "ready"), Slot("127.0.0.1", "maint"), ["addr 10.0.0.1 port 8443", "state ready"]),
        (
            Slot("10.0.0.2", "ready"),
            Slot("10.0.0.1", "ready"),
            ["state maint", "addr 10.0.0.2 port 8443", "state ready"],
        ),
        (Slot("10.0.0.1", "drain"), Slot("10.0.0.1", "ready"), ["state drain"]),
        (Slot("10.0.0.1", "ready"), Slot("10.0.0.1", "maint"), ["state ready"]),
        (Slot(), Slot("10.0.0.1", "ready"), ["state maint"]),
        (Slot(), Slot("10.0.0.1", "maint"), []),
    ],
)
def test_the_way_from_what_runs_to_what_is_wanted(wanted: Slot, running: Slot, expected: list[str]) -> None:
    assert commands(wanted, running) == expected


def test_a_server_that_the_worker_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        slot_commands([TenantBackend("acme", "h", "s", 8443, (Slot("10.0.0.1", "ready"),))], {})


def test_only_servers_that_stay_the_same_carry_their_state_over_a_reload() -> None:
    answer = state(("s1", "10.0.0.1", 0), ("s2", "10.0.0.2", 0), ("s3", "127.0.0.1", 1), ("b1", "10.0.0.1", 0))
    wanted = [TenantBackend("acme", "h", "s", 8443, (Slot("10.0.0.1", "ready"), Slot("10.0.0.9", "ready"), Slot()))]
    kept = [line.split()[3] for line in carry_over(answer, wanted).splitlines()[2:]]
    assert kept == ["s1", "b1"]


def test_tenants_are_in_order_and_inherit_their_slots() -> None:
    tenants = {"beta": tenant(tenant="beta"), "acme": tenant()}
    before = [TenantBackend("acme", "", "", 0, (Slot(), Slot("10.0.0.1", "ready"), Slot(), Slot()))]
    found = tenant_backends(tenants, {"acme": ready("10.0.0.1")}, before)
    assert [item.name for item in found] == ["acme", "beta"]
    assert found[0].slots[1] == Slot("10.0.0.1", "ready")
    assert found[1].slots == (Slot(),) * 4


@pytest.mark.parametrize(
    ("state", "status", "code", "retry"),
    [("Paused", 503, "tenant_paused", True), ("Suspended", 403, "tenant_suspended", False)],
)
def test_a_tenant_that_is_not_served_is_refused_in_words_and_keeps_no_server(
    state: str, status: int, code: str, retry: bool
) -> None:
    before = tenant_backends({"acme": tenant()}, {"acme": ready("10.0.0.1")}, ())
    refused = tenant_backends({"acme": tenant(state=state)}, {"acme": ready("10.0.0.1")}, before)
    made = render(haproxy.template(), FILES, "198.18.16.203", 443, b"PEM", b"CA", refused)
    section = made.config.decode().split("backend tenant_acme\n")[1]
    assert f"http-request return status {status} content-type application/json" in section
    assert f'"code":"{code}"' in section
    assert ("hdr Retry-After 3600" in section) == retry
    assert "server " not in section
    assert slot_commands(refused, {}) == []
    assert b"acme.kyiv.okitoki.test tenant_acme\n" in made.companions.values()
    again = tenant_backends({"acme": tenant()}, {"acme": ready("10.0.0.1")}, refused)
    assert again == before


def test_a_restricted_tenants_api_serves_as_before() -> None:
    before = tenant_backends({"acme": tenant()}, {"acme": ready("10.0.0.1")}, ())
    assert tenant_backends({"acme": tenant(state="Restricted")}, {"acme": ready("10.0.0.1")}, before) == before


def test_to_stop_serving_a_tenant_is_a_change_of_structure() -> None:
    served = rendered(Slot())
    refused = tenant_backends({"acme": tenant(state="Paused")}, {}, ())
    made = render(haproxy.template(), FILES, "198.18.16.203", 443, b"PEM", b"CA", refused)
    assert made.structure != served.structure
