"""Names of members, and their addresses while DNS is slow, wrong or dead."""

from __future__ import annotations

import asyncio

import pytest

from callcentre.database import resolver as module
from callcentre.database.members import Member, parse_members
from callcentre.database.resolver import Resolver, environment_address


def test_members_are_read_and_named() -> None:
    assert parse_members("postgres-0:5432, postgres-1:5433") == (
        Member("postgres-0", "postgres-0", 5432),
        Member("postgres-1:5433", "postgres-1", 5433),
    )


@pytest.mark.parametrize(
    ("text", "mend"),
    [("", "HOST:PORT"), ("a", "HOST:PORT"), ("a:b", "not a port"), ("a:0", "not a port"), ("a:1,a:1", "twice")],
)
def test_wrong_members_are_refused_with_the_mend(text: str, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        parse_members(text)


POSTGRES = Member("postgres-0", "postgres-0", 5432)


def test_the_kubelets_address_serves_before_dns_does() -> None:
    environ = {"POSTGRES_0_SERVICE_HOST": "10.1.2.3", "POSTGRES_1_SERVICE_HOST": "tcp://odd"}
    assert environment_address("postgres-0", environ) == "10.1.2.3"
    assert environment_address("postgres-1", environ) is None
    assert Resolver([POSTGRES], environ).address(POSTGRES) == "10.1.2.3"


async def test_an_address_needs_no_dns() -> None:
    async def never(host: str, port: int) -> str:
        raise AssertionError("an address was looked up")

    member = Member("m", "127.0.0.1", 5432)
    resolver = Resolver([member], {}, never)
    await resolver.run()
    assert resolver.address(member) == "127.0.0.1"


async def test_a_hanging_name_delays_no_other_and_the_last_good_address_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH", 0.01)
    monkeypatch.setattr(module, "RETRY", 0.01)
    lookups = {"good": 0}
    failed_after_success = asyncio.Event()

    async def lookup(host: str, port: int) -> str:
        if host == "hangs":
            await asyncio.Event().wait()
        lookups["good"] += 1
        if lookups["good"] == 1:
            return "10.0.0.1"
        if lookups["good"] > 3:
            failed_after_success.set()
        raise OSError("name server is down")

    good, hangs = Member("good", "good", 1), Member("hangs", "hangs", 1)
    resolver = Resolver([hangs, good], {}, lookup)
    running = asyncio.create_task(resolver.run())
    await asyncio.wait_for(failed_after_success.wait(), 5)
    assert resolver.address(good) == "10.0.0.1"
    assert resolver.address(hangs) is None
    running.cancel()
