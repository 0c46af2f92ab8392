"""The HTTP API against a real database: shapes, statuses, errors that name the field and the mend."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from support.callcentre_app import ADMIN_KEY, App, RunApp
from support.postgres import Server

from callcentre.credentials import ha1

RECORD: dict[str, Any] = {
    "direction": "in",
    "number": "+380441234567",
    "caller": "+380501112233",
    "agent": "1001",
    "queue": "sales",
    "startedAt": "2026-03-01T12:00:00.123456Z",
    "answeredAt": "2026-03-01T12:00:05+00:00",
    "endedAt": "2026-03-01T14:01:00+02:00",
    "endReason": "bye",
    "callId": "abc@carrier",
    "note": "ours",
}
TENANT = {"name": "acme", "displayName": "Acme", "numbers": [{"number": "+380441234567", "queue": "sales"}]}


async def post(app: App, record: dict[str, Any], key: str | None = None) -> tuple[int, dict[str, Any]]:
    reply = await app.client.post("/v1/call-records", json=record, headers={"Idempotency-Key": key or str(uuid4())})
    return reply.status_code, reply.json()


async def test_a_record_is_stored_once_replayed_and_refused_with_another_body(app: App, server: Server) -> None:
    key = str(uuid4())
    status, first = await post(app, RECORD, key)
    assert (status, first["id"]) == (201, key)
    assert first["landline"] is None
    assert {name: first[name] for name in ("number", "caller", "agent", "queue", "note", "callId")} == {
        name: RECORD[name] for name in ("number", "caller", "agent", "queue", "note", "callId")
    }
    assert first["startedAt"] == "2026-03-01T12:00:00.123456Z"
    assert first["endedAt"] == "2026-03-01T12:01:00Z"
    assert await post(app, RECORD, key.upper()) == (200, first)
    status, body = await post(app, {**RECORD, "note": "other", "agent": "1002"}, key)
    assert (status, body["error"]["code"]) == (409, "key_reused")
    assert "agent, note" in body["error"]["message"]
    assert (await app.client.get(f"/v1/call-records/{key}")).json() == first
    assert server.sql("select count(*) from call_records") == [(1,)]


async def test_a_call_that_a_landline_took_says_which(app: App) -> None:
    record = {**RECORD, "agent": None, "landline": "+380447654321"}
    status, stored = await post(app, record)
    assert (status, stored["agent"], stored["landline"]) == (201, None, "+380447654321")
    status, body = await post(app, {**record, "landline": "7654321"})
    assert (status, body["error"]["field"]) == (422, "landline")


async def test_the_same_record_sent_at_once_many_times_is_one(app: App, server: Server) -> None:
    key = str(uuid4())
    replies = await asyncio.gather(*(post(app, RECORD, key) for _ in range(20)))
    assert sorted(status for status, _ in replies) == [200] * 19 + [201]
    assert server.sql("select count(*) from call_records") == [(1,)]


async def test_the_edges_keys_may_hold_anything_printable(app: App) -> None:
    key = 'a/b?c%d"e\\f@10.0.0.1;from#tag;to tag'
    url = f"/edge/v1/call-records/{quote(key, safe='')}"
    edge_record = {**RECORD, "caller": "anonymous", "endedAt": "2026-03-01T11:59:59Z", "media": "of a newer edge"}
    first = await app.edge.put(url, json=edge_record)
    assert (first.status_code, first.json()["id"]) == (201, key)
    again = await app.edge.put(url, json=edge_record)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await app.edge.put(url, json={**edge_record, "agent": None})).status_code == 409
    assert (await app.client.get(f"/v1/call-records/{quote(key, safe='')}")).json() == first.json()


async def test_pages_cover_all_records_newest_first_also_within_one_moment(app: App) -> None:
    for minute in range(3):
        for _ in range(4):
            time = f"2026-03-01T12:0{minute}:00Z"
            await post(app, {**RECORD, "startedAt": time, "answeredAt": None, "endedAt": "2026-03-01T13:00:00Z"})
    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"limit": "5"} | ({"cursor": cursor} if cursor else {})
        page = (await app.client.get("/v1/call-records", params=query)).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) == 5
    assert len({item["id"] for item in seen}) == 12
    assert [(item["startedAt"], item["id"]) for item in seen] == sorted(
        ((item["startedAt"], item["id"]) for item in seen), reverse=True
    )


async def test_records_are_found_by_time_number_and_agent(app: App) -> None:
    other = {**RECORD, "number": "+380440000000", "agent": None, "startedAt": "2026-03-01T11:00:00Z"}
    _, first = await post(app, RECORD)
    _, second = await post(app, other)

    async def found(**query: str) -> list[str]:
        reply = await app.client.get("/v1/call-records", params=query)
        return [item["id"] for item in reply.json()["items"]]

    assert await found(number="+380440000000") == [second["id"]]
    assert await found(agent="1001") == [first["id"]]
    assert await found(**{"from": "2026-03-01T12:00:00Z"}) == [first["id"]]
    assert await found(to="2026-03-01T12:00:00.123456Z") == [second["id"]]
    assert await found(**{"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T15:00:00+02:00"}) == [
        first["id"],
        second["id"],
    ]


@pytest.mark.parametrize(
    ("change", "field", "mend"),
    [
        ({"number": "0441234567"}, "number", "E.164"),
        ({"direction": "sideways"}, "direction", "'in' or 'out'"),
        ({"startedAt": 1700000000}, "startedAt", "RFC 3339"),
        ({"startedAt": "2026-03-01T12:00:00"}, "startedAt", "timezone"),
        ({"startedAt": "1026-03-01T12:00:00Z"}, "startedAt", "between the years"),
        ({"endedAt": "2026-03-01T11:00:00Z"}, "endedAt", "is before"),
        ({"endReason": None}, "endReason", "give a text"),
        ({"note": "x" * 201}, "note", "200"),
        ({"caller": "a\u0000b"}, "caller", "control characters"),
        ({"notes": "x"}, "notes", "not a known field"),
    ],
)
async def test_wrong_records_are_refused_with_field_and_mend(
    app: App, change: dict[str, Any], field: str, mend: str
) -> None:
    body = json.dumps({**RECORD, **change})
    headers = {"Idempotency-Key": str(uuid4()), "Content-Type": "application/json"}
    reply = await app.client.post("/v1/call-records", content=body, headers=headers)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["field"]) == (422, "invalid", field)
    assert mend in error["message"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"number": "12"}, "number"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"agent": "a\0b"}, "agent"),
    ],
)
async def test_wrong_queries_are_refused_with_the_field(app: App, query: dict[str, str], field: str) -> None:
    reply = await app.client.get("/v1/call-records", params=query)
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, field)


async def test_the_idempotency_key_is_needed_and_a_uuid(app: App) -> None:
    missing = await app.client.post("/v1/call-records", json=RECORD)
    wrong = await app.client.post("/v1/call-records", json=RECORD, headers={"Idempotency-Key": "1"})
    for reply in (missing, wrong):
        assert (reply.status_code, reply.json()["error"]["field"]) == (422, "Idempotency-Key")


async def test_other_errors_have_the_same_form(app: App) -> None:
    assert (await app.client.get("/v1/nothing")).json()["error"]["code"] == "not_found"
    assert (await app.client.patch("/v1/agents")).json()["error"]["code"] == "method_not_allowed"
    assert (await app.client.get("/v1/call-records/nothing")).status_code == 404
    headers = {"Content-Type": "application/json"}
    broken = await app.client.post("/v1/agents", content=b'{"username": ', headers=headers)
    assert (broken.status_code, broken.json()["error"]["code"]) == (422, "invalid")
    deep = await app.client.post("/v1/agents", content=b"[" * 200_000, headers=headers)
    assert deep.status_code in (400, 422)
    for wrong in (b"\xff\xfe", b'{"username": "\\ud800"}'):
        assert (await app.client.post("/v1/agents", content=wrong, headers=headers)).status_code in (400, 422)


async def test_a_body_that_is_too_large_is_refused_announced_or_not(app: App) -> None:
    announced = await app.client.post("/v1/agents", content=b"x" * (1024 * 1024 + 1))
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "too_large")

    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100_000

    streamed = await app.client.post("/v1/agents", content=chunks())
    assert (streamed.status_code, streamed.json()["error"]["code"]) == (413, "too_large")


async def test_an_agents_secret_is_shown_once_and_only_ha1_is_stored(app: App, server: Server) -> None:
    made = (await app.client.post("/v1/agents", json={"username": "1001", "displayName": "Олена"})).json()
    stored = ha1("1001", "acme", made["sipSecret"])
    assert server.sql("select ha1 from agents") == [(stored,)]
    again = await app.client.post("/v1/agents", json={"username": "1001"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "agent_exists")
    assert "sip-secret" in again.json()["error"]["message"]
    shown = (await app.client.get("/v1/agents/1001")).json()
    assert shown["displayName"] == "Олена"
    assert made["sipSecret"] not in json.dumps(shown)
    assert stored not in json.dumps(shown)
    new = (await app.client.post("/v1/agents/1001/sip-secret")).json()
    assert new["sipSecret"] != made["sipSecret"]
    assert server.sql("select ha1 from agents") == [(ha1("1001", "acme", new["sipSecret"]),)]
    assert (await app.client.post("/v1/agents/1002/sip-secret")).status_code == 404


async def test_queues_keep_their_order_and_lose_deleted_agents(app: App) -> None:
    for username in ("1001", "1002", "1003"):
        await app.client.post("/v1/agents", json={"username": username})
    await app.client.put("/v1/queues/sales", json={"agents": ["1003", "1001", "1002"]})
    assert (await app.client.get("/v1/queues/sales")).json() == {"name": "sales", "agents": ["1003", "1001", "1002"]}
    assert (await app.client.delete("/v1/agents/1001")).status_code == 204
    assert (await app.client.delete("/v1/agents/1001")).status_code == 204
    assert (await app.client.get("/v1/queues")).json() == {"items": [{"name": "sales", "agents": ["1003", "1002"]}]}
    unknown = await app.client.put("/v1/queues/sales", json={"agents": ["1002", "9999"]})
    assert (unknown.status_code, unknown.json()["error"]["field"]) == (422, "agents[1]")
    twice = await app.client.put("/v1/queues/sales", json={"agents": ["1002", "1002"]})
    assert (twice.status_code, twice.json()["error"]["field"]) == (422, "agents")
    assert (await app.client.put("/v1/queues/Sales", json={"agents": []})).json()["error"]["field"] == "name"
    assert (await app.client.get("/v1/queues/none")).status_code == 404


async def test_the_platforms_word_is_level_based(app: App) -> None:
    assert (await app.platform.get("/platform/v1/tenant")).status_code == 404
    for _ in range(2):
        assert (await app.platform.put("/platform/v1/tenant", json=TENANT)).json() == {**TENANT, "restricted": False}
    changed = {**TENANT, "numbers": [{"number": "+380442222222", "queue": "support"}]}
    assert (await app.platform.put("/platform/v1/tenant", json=changed)).status_code == 200
    assert (await app.platform.get("/platform/v1/tenant")).json() == {**changed, "restricted": False}
    assert (await app.client.get("/v1/numbers")).json() == {"items": changed["numbers"]}
    assert {queue["name"] for queue in (await app.client.get("/v1/queues")).json()["items"]} == {"sales", "support"}
    wrong = await app.platform.put("/platform/v1/tenant", json={**TENANT, "name": "other"})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "name")
    nested = await app.platform.put("/platform/v1/tenant", json={**TENANT, "numbers": [{"number": "1", "queue": "q"}]})
    assert nested.json()["error"]["field"] == "numbers[0].number"


async def test_a_restricted_company_makes_no_login_and_keeps_everything_else(app: App) -> None:
    await app.platform.put("/platform/v1/tenant", json=TENANT)
    assert (await app.client.post("/v1/agents", json={"username": "1001"})).status_code == 201
    before = (await app.edge.get("/edge/v1/routes")).json()
    await app.platform.put("/platform/v1/tenant", json={**TENANT, "restricted": True})
    assert (await app.platform.get("/platform/v1/tenant")).json()["restricted"] is True
    for path, body in (("/v1/agents", {"username": "1002"}), ("/v1/agents/1001/sip-secret", None)):
        refused = await app.client.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "tenant_restricted")
        assert "ask the service to lift the restriction" in refused.json()["error"]["message"]
    assert (await app.edge.get("/edge/v1/routes")).json() == before, "a refused login has changed nothing"
    assert (await app.client.put("/v1/queues/sales", json={"agents": ["1001"]})).status_code == 200
    assert (await post(app, RECORD))[0] == 201
    assert (await app.client.delete("/v1/agents/1001")).status_code == 204
    await app.platform.put("/platform/v1/tenant", json=TENANT)
    assert (await app.client.post("/v1/agents", json={"username": "1002"})).status_code == 201


async def test_the_feed_changes_its_etag_with_its_content_only(app: App) -> None:
    await app.platform.put("/platform/v1/tenant", json=TENANT)
    secret = (await app.client.post("/v1/agents", json={"username": "1001"})).json()["sipSecret"]
    await app.client.put("/v1/queues/sales", json={"agents": ["1001"]})
    first = await app.edge.get("/edge/v1/routes")
    assert first.json() == {
        "tenant": "acme",
        "realm": "acme",
        "numbers": TENANT["numbers"],
        "queues": {"sales": ["1001"]},
        "agents": [{"username": "1001", "ha1": ha1("1001", "acme", secret)}],
    }
    assert first.headers["etag"] == f'"{hashlib.sha256(first.content).hexdigest()}"'
    same = await app.edge.get("/edge/v1/routes", headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
    await app.platform.put("/platform/v1/tenant", json=TENANT)  # a change of nothing
    same = await app.edge.get("/edge/v1/routes", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    assert same.status_code == 304
    await app.client.post("/v1/agents", json={"username": "1002"})
    changed = await app.edge.get("/edge/v1/routes", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_keys_are_made_used_listed_and_revoked(app: App, run_app: RunApp, server: Server) -> None:
    made = (await app.client.post("/v1/api-keys", json={"name": "crm"})).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with run_app(server) as other_pod:
        assert (await other_pod.anyone.get("/v1/agents", headers=headers)).status_code == 200
    assert (await app.anyone.get("/v1/agents", headers=headers)).status_code == 200
    listed = (await app.client.get("/v1/api-keys")).json()["items"]
    assert {key["prefix"]: key["seeded"] for key in listed} == {ADMIN_KEY.prefix: True, made["prefix"]: False}
    assert made["key"].split("_", 2)[2] not in json.dumps(listed)
    assert (await app.client.delete(f"/v1/api-keys/{made['prefix']}")).status_code == 204
    assert (await app.anyone.get("/v1/agents", headers=headers)).status_code == 401
    seeded = await app.client.delete(f"/v1/api-keys/{ADMIN_KEY.prefix}")
    assert (seeded.status_code, seeded.json()["error"]["code"]) == (409, "key_is_seeded")
    stored = server.sql("select secret_sha256 from api_keys")
    assert stored == [(hashlib.sha256(ADMIN_KEY.secret.encode()).digest(),)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agents"),
        ("GET", "/v1/queues"),
        ("GET", "/v1/numbers"),
        ("GET", "/v1/call-records"),
        ("GET", "/v1/api-keys"),
        ("GET", "/edge/v1/routes"),
        ("PUT", "/edge/v1/call-records/x"),
        ("GET", "/platform/v1/tenant"),
    ],
)
async def test_nobody_gets_in_with_no_key_or_anothers(app: App, method: str, path: str) -> None:
    kind = path.split("/")[1]
    others = {"v1": (app.edge, app.platform), "edge": (app.client, app.platform), "platform": (app.client, app.edge)}
    for caller in (app.anyone, *others[kind]):
        reply = await caller.request(method, path, json=RECORD if method == "PUT" else None)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert reply.json()["error"]["code"] == "unauthorized"


async def test_nothing_secret_is_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        made = (await app.client.post("/v1/api-keys", json={"name": "crm"})).json()
        agent = (await app.client.post("/v1/agents", json={"username": "1001"})).json()
        await app.anyone.get("/v1/agents", headers={"Authorization": f"Bearer {made['key']}x"})
        await app.client.get("/v1/call-records", params={"number": "+380441234567"})
    logged = "\n".join(str(vars(record)) for record in caplog.records if record.name.startswith("callcentre"))
    assert "/v1/api-keys" in logged
    for secret in (made["key"].split("_", 2)[2], agent["sipSecret"], ADMIN_KEY.secret, "380441234567"):
        assert secret not in logged


async def test_the_new_admin_key_replaces_the_old(app: App, server: Server) -> None:
    from callcentre.credentials import ApiKey
    from callcentre.store.api_keys import seed_key

    new = ApiKey.generate()
    for _ in range(2):
        await app.services.database.run(lambda session: seed_key(session, new))
    assert server.sql("select prefix, seeded from api_keys") == [(new.prefix, True)]
