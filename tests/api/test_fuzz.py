"""Specs made at random from the CRD's own schema, one after another on one Tenant, with operators that die in between.

Whatever the API server takes, the operator's model takes too; whatever it refuses names the field and changes nothing;
and after each change the operator comes to rest, with a status that is about that change.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import kopf
import pytest
from api.world import REGION, Crash, World, tenant
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from okitoki.api.crds import all_crds
from okitoki.api.tenant import TenantSpec
from okitoki.kube import resources as kinds
from okitoki.kube.client import ApiError, Client
from okitoki.kube.resources import Manifest

EXAMPLES = int(os.environ.get("OKITOKI_FUZZ_EXAMPLES", "12"))
PASSES = 12
RULES = "x-kubernetes-validations"
# Of a rule that is one regular expression, the expression.
MATCHES = ("self.matches(r'", "')")
# Where the API server puts what is wrong: a field of the spec, or the whole of it for a rule across fields.
FIELD = "spec"


def from_schema(schema: Mapping[str, Any], *, shaped: bool) -> st.SearchStrategy[Any]:
    """Values that the schema allows; with `shaped`, texts have the shape that their rules ask for. (The library,
    hypothesis-jsonschema, leans on insides that hypothesis no longer has.)"""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    make = {"object": an_object, "array": an_array, "string": a_text, "integer": an_integer, "boolean": a_boolean}
    return make[schema["type"]](schema, shaped)


def an_object(schema: Mapping[str, Any], shaped: bool) -> st.SearchStrategy[Any]:
    fields = {name: from_schema(one, shaped=shaped) for name, one in schema["properties"].items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def an_array(schema: Mapping[str, Any], shaped: bool) -> st.SearchStrategy[Any]:
    least = schema.get("minItems", 0)
    return st.lists(from_schema(schema["items"], shaped=shaped), min_size=least, max_size=min(schema["maxItems"], 4))


def a_text(schema: Mapping[str, Any], shaped: bool) -> st.SearchStrategy[Any]:
    least, most = schema.get("minLength", 0), schema["maxLength"]
    if shaped and (shape := pattern_of(schema)):
        return st.from_regex(re.compile(shape, re.ASCII), fullmatch=True).filter(lambda text: len(text) <= most)
    return st.text(st.characters(exclude_categories=("Cs",)), min_size=least, max_size=most)


def an_integer(schema: Mapping[str, Any], shaped: bool) -> st.SearchStrategy[Any]:
    return st.integers(schema["minimum"], schema["maximum"])


def a_boolean(schema: Mapping[str, Any], shaped: bool) -> st.SearchStrategy[Any]:
    return st.booleans()


def pattern_of(schema: Mapping[str, Any]) -> str:
    """The regular expression of a text's rule, or nothing."""
    begin, end = MATCHES
    for one in schema.get(RULES, ()):
        if one["rule"].startswith(begin):
            return str(one["rule"].removeprefix(begin).split(end)[0])
    return ""


def spec_schema() -> Mapping[str, Any]:
    crd = next(one for one in all_crds().values() if one["spec"]["names"]["kind"] == "Tenant")
    found: Mapping[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


@dataclass(frozen=True)
class Change:
    """A new spec, and after how many of its writes the operator that begins on it dies."""

    spec: Mapping[str, Any]
    crash_after: int | None


def at_home(spec: dict[str, Any], home: bool) -> dict[str, Any]:
    """With the region that there is, so that routes are published too."""
    return {**spec, "regions": [REGION]} if home else spec


@st.composite
def changes(draw: st.DrawFn) -> Change:
    shaped = from_schema(spec_schema(), shaped=True)
    spec = at_home(draw(shaped), draw(st.booleans()))
    # Nothing to adopt is there; that has tests of its own.
    if draw(st.integers(0, 3)):
        spec.get("database", {}).pop("adopt", None)
    if not draw(st.integers(0, 3)):
        wild = draw(from_schema(spec_schema(), shaped=False))
        for name in draw(st.sets(st.sampled_from(sorted(wild)), max_size=2)) if wild else ():
            spec[name] = wild[name]
    return Change(spec, draw(st.none() | st.integers(1, 12)))


@pytest.mark.timeout(900)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a step takes too long for series to be made smaller
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(st.lists(changes(), min_size=2, max_size=4))
def test_any_series_of_specs_is_refused_with_its_field_or_comes_to_rest(
    connection: kopf.ConnectionInfo, series: list[Change]
) -> None:
    asyncio.run(play(connection, series))


async def play(connection: kopf.ConnectionInfo, series: list[Change]) -> None:
    async with Client(connection) as admin:
        world = World(connection, admin)
        await world.set_up()
        try:
            for change in series:
                note(f"{change}")
                if await put(world, change.spec):
                    await settle(world, change.crash_after)
        finally:
            await world.tear_down()


async def put(world: World, spec: Mapping[str, Any]) -> bool:
    """Create or replace acme; whether the API server took it. The model must say the same of it."""
    refused: ApiError | None = None
    before = await world.admin.get(kinds.TENANT, "acme")
    wanted: Manifest = {**tenant("acme"), "spec": dict(spec)}
    try:
        if before is None:
            await world.admin.create(wanted)
        else:
            await world.admin.replace({**before, "spec": dict(spec)})
    except ApiError as error:
        refused = error
    stored = await world.admin.get(kinds.TENANT, "acme")
    if refused is not None:
        assert (refused.status, FIELD in str(refused), stored) == (422, True, before), refused
        return False
    assert stored is not None
    try:
        TenantSpec.model_validate(stored["spec"])
    except ValidationError as error:
        raise AssertionError(f"the API server took what the model refuses: {error}") from error
    return True


async def settle(world: World, crash_after: int | None) -> None:
    """An operator that dies, then others until nothing is left to write; the status is about the newest generation."""
    async with world.operator() as (reconcile, client):
        client.crash_after = crash_after
        try:
            await reconcile("acme")
        except Crash:
            note(f"died after {client.writes[-1]}")
    writes: list[str] = ["?"]
    for _ in range(PASSES):
        writes = await world.reconcile("acme")
        if not writes:
            break
        await world.end_pods("acme")
    assert writes == []
    found = await world.admin.get(kinds.TENANT, "acme")
    assert found is not None
    conditions = {one["type"]: one for one in found["status"]["conditions"]}
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert conditions["Ready"]["observedGeneration"] == found["metadata"]["generation"]
    assert all(one["reason"] and one["message"] for one in conditions.values()), conditions
