import base64
from typing import Any

import pytest
from unit.edge_agent.support import TENANT, TOKEN, tenant, tenant_secret

from okitoki_agents.edge.agent.tenants import (
    TenantError,
    certificate_of_secret,
    parse_tenant,
    tenants_of_secrets,
)


def test_a_tenant_comes_back_from_its_own_document() -> None:
    assert parse_tenant(tenant().document()) == tenant()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant", "Acme"),
        ("tenant", "acme\n"),
        ("host", 'a"b'),
        ("host", "acme.test\nuse_backend x"),
        ("serverName", "a b"),
        ("namespace", "../x"),
        ("service", ""),
        ("port", 0),
        ("port", True),
        ("port", "8443"),
        ("numbers", ["380441234567"]),
        ("numbers", "+380441234567"),
        ("landlines", []),
        ("landlines", {"+380440000000": ["+380447654321"]}),
        ("landlines.*380441234567", {"+380441234567": ["7654321"]}),
        ("landlines.*380441234567", {"+380441234567": ["+380447654321|x"]}),
        ("state", "paused"),
        ("state", None),
        ("edgeToken", "short"),
        ("edgeToken", "with blank in the middle"),
    ],
)
def test_what_could_break_a_configuration_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(TenantError, match=f"tenant.json: {field}"):
        parse_tenant({**TENANT, field.partition(".")[0]: value})


def test_a_document_of_an_older_operator_names_no_landlines() -> None:
    older = {name: value for name, value in TENANT.items() if name != "landlines"}
    assert parse_tenant(older).landlines == {}


def test_an_error_never_holds_the_token() -> None:
    with pytest.raises(TenantError) as caught:
        parse_tenant({**TENANT, "edgeToken": "secret in pieces"})
    assert "secret" not in str(caught.value)
    assert TOKEN not in repr(tenant())


def test_secrets_become_tenants_and_others_are_left_alone() -> None:
    secrets = {"edge-tenant-acme": tenant_secret(), "edge-secrets": {"metadata": {"name": "edge-secrets"}}}
    tenants, errors = tenants_of_secrets(secrets)
    assert tenants == {"acme": tenant()}
    assert errors == {}


def test_a_secret_that_lies_about_its_tenant_is_refused() -> None:
    secret = tenant_secret()
    secret["metadata"]["labels"]["platform.oki-toki.net/edge-tenant"] = "beta"
    tenants, errors = tenants_of_secrets({"edge-tenant-acme": secret})
    assert tenants == {}
    assert "label" in errors["edge-tenant-acme"]


def test_a_host_stays_with_the_first_tenant() -> None:
    second = tenant_secret("beta", host="acme.kyiv.okitoki.test")
    tenants, errors = tenants_of_secrets({"edge-tenant-beta": second, "edge-tenant-acme": tenant_secret()})
    assert set(tenants) == {"acme"}
    assert "belongs to another tenant" in errors["edge-tenant-beta"]


@pytest.mark.parametrize("data", [None, {}, {"tenant.json": "%"}, {"tenant.json": base64.b64encode(b"{").decode()}])
def test_a_broken_secret_is_an_error_and_no_exception(data: Any) -> None:
    secret = {**tenant_secret(), "data": data}
    assert tenants_of_secrets({"edge-tenant-acme": secret}) == (
        {},
        {"edge-tenant-acme": "tenant.json: missing, or not JSON"},
    )


def test_the_certificate_is_one_file_of_chain_and_key() -> None:
    data = {"tls.crt": base64.b64encode(b"CHAIN\n\n").decode(), "tls.key": base64.b64encode(b"KEY").decode()}
    assert certificate_of_secret({"data": data}) == b"CHAIN\nKEY\n"
    assert certificate_of_secret({"data": {"tls.crt": data["tls.crt"]}}) is None
    assert certificate_of_secret({"data": {**data, "tls.key": ""}}) is None
    assert certificate_of_secret(None) is None


def test_a_document_of_an_operator_that_knows_no_states_is_of_an_active_tenant() -> None:
    assert "state" not in TENANT
    assert parse_tenant(TENANT).served
    assert parse_tenant(TENANT).staffed
    assert not parse_tenant({**TENANT, "state": "Paused"}).served


@pytest.mark.parametrize(
    ("state", "served", "staffed"), [("Active", True, True), ("Restricted", True, False), ("Suspended", False, False)]
)
def test_who_is_let_in_in_each_state(state: str, served: bool, staffed: bool) -> None:
    found = parse_tenant({**TENANT, "state": state})
    assert (found.served, found.staffed) == (served, staffed)
