"""Generated secrets: made once, kept, and never made anew under a database that knows them."""

from __future__ import annotations

import re
from dataclasses import replace

from unit.operator.factory import AUTHORITY, KYIV, NOW, a_tenant, what_is_observed

from okitoki.tenant.facts import Secrets
from okitoki.tenant.secrets import api_key, fill, token


def test_the_admin_key_has_the_apps_form_and_tokens_256_bits() -> None:
    assert re.fullmatch(r"otk_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", api_key())
    assert len(token()) == 64
    assert token() != token()


def test_what_exists_is_kept_and_what_lacks_is_added() -> None:
    observed = what_is_observed()
    assert fill(a_tenant(), observed, AUTHORITY, NOW) == observed
    less = replace(observed.secrets, app={"edge-token": "kept"})
    filled = fill(a_tenant(), replace(observed, secrets=less), AUTHORITY, NOW).secrets.app
    assert filled["edge-token"] == "kept"
    assert set(filled) == {"edge-token", "platform-token"}


def test_passwords_of_an_existing_database_are_never_made_anew() -> None:
    observed = replace(what_is_observed(), secrets=Secrets(), database_exists=True)
    assert fill(a_tenant(), observed, AUTHORITY, NOW).secrets.database == {}
    assert observed.passwords_lost


def test_a_new_region_gives_the_app_a_certificate_with_its_host() -> None:
    observed = what_is_observed()
    lviv = replace(KYIV, name="lviv", domain="lviv.okitoki.test")
    tenant = a_tenant(regions=["kyiv", "lviv"])
    filled = fill(tenant, replace(observed, regions=(KYIV, lviv)), AUTHORITY, NOW).secrets.tls
    assert filled is not None
    assert filled != observed.secrets.tls
    names = ["app.tenant-acme.svc", "acme.kyiv.okitoki.test", "acme.lviv.okitoki.test"]
    assert AUTHORITY.unfit(filled, names, NOW) is None


def test_no_secret_is_shown() -> None:
    observed = what_is_observed()
    shown = repr(observed)
    for value in [*observed.secrets.database.values(), *observed.secrets.app.values()]:
        assert value not in shown
