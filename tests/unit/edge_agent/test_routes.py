from typing import Any

import pytest
from unit.edge_agent.support import FEED, tenant

from okitoki_agents.edge.agent.routes import RoutesError, foreign_numbers, merge, parse_routes
from okitoki_agents.edge.kamailio import RESTRICTED_REALM, LandlineRoute, NumberRoute, rows, table_text


def test_a_feed_becomes_kamailios_tables() -> None:
    routes = merge({"acme": tenant()}, {"acme": parse_routes(FEED, "acme")})
    host = "acme.kyiv.okitoki.test"
    assert routes.numbers == {"+380441234567": NumberRoute("acme", "sales", host)}
    assert routes.queues == {("acme", "sales"): ("1001", "1002")}
    assert routes.ha1 == {("1001", host): "0" * 32, ("1002", host): "a" * 32}
    assert routes.realms == {host: "acme"}
    for table in rows(routes).values():
        assert table_text(table)


def test_landlines_need_no_feed() -> None:
    """An edge that has never heard of the tenant's app has them from the operator."""
    routes = merge({"acme": tenant()}, {})
    assert routes.numbers == {}
    assert routes.landlines == {
        "+380441234567": LandlineRoute("acme", "acme.kyiv.okitoki.test", ("+380447654321",)),
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tenant": "beta"}, "tenant"),
        ({"realm": "beta"}, "realm"),
        ({"numbers": {}}, "numbers"),
        ({"numbers": [{"number": "123", "queue": "sales"}]}, r"numbers\[0\].number"),
        ({"numbers": [{"number": "+380441234567", "queue": "a|b"}]}, r"numbers\[0\].queue"),
        ({"numbers": ["+380441234567"]}, r"numbers\[0\].number"),
        ({"queues": []}, "queues"),
        ({"queues": {"a:b": []}}, "queues"),
        ({"queues": {"sales": ["a,b"]}}, "queues.sales"),
        ({"queues": {"sales": "1001"}}, "queues.sales"),
        ({"agents": [{"username": "a@b", "ha1": "0" * 32}]}, r"agents\[0\].username"),
        ({"agents": [{"username": "1001", "ha1": "x" * 32}]}, r"agents\[0\].ha1"),
    ],
)
def test_a_feed_that_could_forge_a_table_row_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(RoutesError, match=f"^{named}"):
        parse_routes({**FEED, **change}, "acme")


def test_an_error_holds_no_ha1() -> None:
    with pytest.raises(RoutesError) as caught:
        parse_routes({**FEED, "agents": [{"username": "1001", "ha1": "deadbeef"}]}, "acme")
    assert "deadbeef" not in str(caught.value)
    assert "a" * 32 not in repr(parse_routes(FEED, "acme"))


def test_numbers_that_the_operator_did_not_give_are_left_out() -> None:
    feed = parse_routes({**FEED, "numbers": [{"number": "+380449999999", "queue": "sales"}]}, "acme")
    assert foreign_numbers(tenant(), feed) == ("+380449999999",)
    assert merge({"acme": tenant()}, {"acme": feed}).numbers == {}


def test_a_number_of_two_tenants_stays_with_the_first() -> None:
    other = tenant(tenant="beta", host="beta.kyiv.okitoki.test")
    feeds = {
        "acme": parse_routes(FEED, "acme"),
        "beta": parse_routes({**FEED, "tenant": "beta", "realm": "beta"}, "beta"),
    }
    routes = merge({"beta": other, "acme": tenant()}, feeds)
    assert routes.numbers["+380441234567"].tenant == "acme"
    assert set(routes.realms) == {"acme.kyiv.okitoki.test", "beta.kyiv.okitoki.test"}


def test_a_tenant_that_is_gone_leaves_nothing() -> None:
    assert merge({}, {"acme": parse_routes(FEED, "acme")}).numbers == {}
    assert merge({"acme": tenant()}, {}).realms == {}


@pytest.mark.parametrize("state", ["Paused", "Suspended"])
def test_of_a_tenant_that_is_not_served_only_the_numbers_are_known(state: str) -> None:
    """An empty queue is a 480 to the caller, an unknown realm a 403 to the phone; no route can come from the feed."""
    landlines = {tenant().numbers[0]: ["+380447654321"]}
    assert merge({"acme": tenant(landlines=landlines)}, {}).landlines
    refused = merge({"acme": tenant(state=state, landlines=landlines)}, {"acme": parse_routes(FEED, "acme")})
    assert set(refused.numbers) == set(tenant().numbers)
    assert {(route.tenant, route.host) for route in refused.numbers.values()} == {("acme", tenant().host)}
    assert (refused.queues, refused.ha1, refused.realms, refused.landlines) == ({}, {}, {}, {})
    assert merge({"acme": tenant(state=state)}, {}) == refused


def test_of_a_restricted_tenant_calls_go_to_landlines_and_phones_are_told_why() -> None:
    """A number without a landline has an empty queue (480); one with a landline has nothing else to be tried first."""
    feeds = {"acme": parse_routes(FEED, "acme")}
    restricted = merge({"acme": tenant(state="Restricted")}, feeds)
    assert restricted.landlines == merge({"acme": tenant()}, feeds).landlines
    assert set(restricted.landlines) == {"+380441234567"}
    assert restricted.numbers == {"+380441234568": NumberRoute("acme", "-", tenant().host)}
    assert (restricted.queues, restricted.ha1) == ({}, {})
    assert restricted.realms == {tenant().host: RESTRICTED_REALM}
    assert merge({"acme": tenant(state="Restricted")}, {}) == restricted


@pytest.mark.parametrize("state", ["Paused", "Suspended"])
def test_a_restriction_gives_way_to_a_pause_and_a_suspension_and_comes_back(state: str) -> None:
    feeds = {"acme": parse_routes(FEED, "acme")}
    restricted = merge({"acme": tenant(state="Restricted")}, feeds)
    assert merge({"acme": tenant(state=state)}, feeds).realms == {}
    assert merge({"acme": tenant(state="Restricted")}, feeds) == restricted


def test_a_queue_of_the_name_that_stands_for_none_gets_no_call() -> None:
    feed = parse_routes({**FEED, "queues": {"-": ["1001"]}}, "acme")
    assert merge({"acme": tenant(state="Suspended")}, {"acme": feed}).queues == {}


def test_a_tenant_that_is_served_again_has_its_routes_of_before() -> None:
    feeds = {"acme": parse_routes(FEED, "acme")}
    merge({"acme": tenant(state="Paused")}, feeds)
    assert merge({"acme": tenant()}, feeds).queues[("acme", "sales")] == ("1001", "1002")
