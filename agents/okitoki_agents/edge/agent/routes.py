"""A tenant's routes as its app gives them (`GET /edge/v1/routes`), checked, and all tenants' routes as Kamailio wants
them.

A tenant's app is not trusted with more than its own: numbers that the operator has not given to the tenant are left
out, and the host name comes from the operator, never from the feed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from okitoki_agents.edge.agent.tenants import NUMBER, EdgeTenant
from okitoki_agents.edge.kamailio import RESTRICTED_REALM, LandlineRoute, NumberRoute, Routes

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Queues and users. They become parts of htable keys and SIP URIs, so `:`, `|`, `,`, `@` and blanks are out."""
UNSERVED_QUEUE = "-"
"""A table row cannot lack one; no queue has this name with agents in it."""
HA1 = re.compile(r"[0-9a-f]{32}")


class RoutesError(ValueError):
    """The feed is not of its form; the message names the field and holds no secret."""


@dataclass(frozen=True)
class TenantRoutes:
    """A checked feed. numbers: E.164 number -> queue; queues: queue -> users in order; ha1: user -> MD5 of RFC 2617."""

    realm: str
    numbers: Mapping[str, str]
    queues: Mapping[str, tuple[str, ...]]
    ha1: Mapping[str, str]

    def __repr__(self) -> str:
        """Counts only: HA1s are as good as passwords."""
        return f"TenantRoutes({self.realm!r}, {len(self.numbers)} numbers, {len(self.ha1)} agents)"


def parse_routes(document: Any, tenant: str) -> TenantRoutes:
    """The routes of `tenant` from the feed's JSON. Raises RoutesError."""
    if not isinstance(document, Mapping):
        raise RoutesError("not an object")
    for field in ("tenant", "realm"):
        if document.get(field) != tenant:
            raise RoutesError(f"{field}: expected {tenant!r}, found {document.get(field)!r}")
    queues = document.get("queues")
    if not isinstance(queues, Mapping):
        raise RoutesError("queues: expected an object")
    numbers: dict[str, str] = {}
    for index, item in enumerate(_list(document, "numbers")):
        number = _text(item, "number", f"numbers[{index}]", NUMBER)
        numbers[number] = _text(item, "queue", f"numbers[{index}]", NAME)
    ha1: dict[str, str] = {}
    for index, item in enumerate(_list(document, "agents")):
        user = _text(item, "username", f"agents[{index}]", NAME)
        digest = item.get("ha1")
        if not isinstance(digest, str) or not HA1.fullmatch(digest):
            raise RoutesError(f"agents[{index}].ha1: expected 32 hexadecimal digits")
        ha1[user] = digest
    checked: dict[str, tuple[str, ...]] = {}
    for queue, users in queues.items():
        if not NAME.fullmatch(queue):
            raise RoutesError(f"queues: {queue!r} is not a queue's name")
        if not isinstance(users, list) or not all(isinstance(user, str) and NAME.fullmatch(user) for user in users):
            raise RoutesError(f"queues.{queue}: expected a list of user names")
        checked[queue] = tuple(dict.fromkeys(users))
    return TenantRoutes(realm=tenant, numbers=numbers, queues=checked, ha1=ha1)


def _list(document: Mapping[str, Any], field: str) -> list[Any]:
    value = document.get(field)
    if not isinstance(value, list):
        raise RoutesError(f"{field}: expected a list")
    return value


def _text(item: Any, field: str, where: str, form: re.Pattern[str]) -> str:
    value = item.get(field) if isinstance(item, Mapping) else None
    if not isinstance(value, str) or not form.fullmatch(value):
        raise RoutesError(f"{where}.{field}: expected {form.pattern}, found {value!r}")
    return value


def foreign_numbers(tenant: EdgeTenant, routes: TenantRoutes) -> tuple[str, ...]:
    """Numbers in the feed that the operator has not given to this tenant."""
    return tuple(sorted(set(routes.numbers) - set(tenant.numbers)))


def merge(tenants: Mapping[str, EdgeTenant], feeds: Mapping[str, TenantRoutes]) -> Routes:
    """What Kamailio is to route by: all tenants with a feed, nothing of those that are gone. Landlines need no feed:
    they are for the time when there is none.

    A number that two tenants hold stays with the first by name; the operator refuses that before it comes here. Of a
    tenant that is not served only the numbers are known, without a queue: a caller is told 480, and its phones, whose
    realm is unknown, 403. Of a restricted one those with a landline are known by that alone, so that every call goes
    there and no phone is asked; its phones hear why they are refused.
    """
    numbers: dict[str, NumberRoute] = {}
    queues: dict[tuple[str, str], tuple[str, ...]] = {}
    ha1: dict[tuple[str, str], str] = {}
    realms: dict[str, str] = {}
    landlines: dict[str, LandlineRoute] = {}
    for name, tenant in sorted(tenants.items()):
        if tenant.served:
            for number, found in tenant.landlines.items():
                landlines.setdefault(number, LandlineRoute(name, tenant.host, found))
        if not tenant.staffed:
            for number in tenant.numbers:
                if number not in landlines:
                    numbers.setdefault(number, NumberRoute(name, UNSERVED_QUEUE, tenant.host))
            if tenant.served:
                realms[tenant.host] = RESTRICTED_REALM
            continue
        feed = feeds.get(name)
        if feed is None:
            continue
        realms[tenant.host] = feed.realm
        ha1 |= {(user, tenant.host): digest for user, digest in feed.ha1.items()}
        # A table row cannot be empty; a queue without agents and one that is missing are the same to a caller.
        queues |= {(name, queue): users for queue, users in feed.queues.items() if users}
        for number, queue in feed.numbers.items():
            if number in tenant.numbers and number not in numbers:
                numbers[number] = NumberRoute(name, queue, tenant.host)
    return Routes(numbers=numbers, queues=queues, ha1=ha1, realms=realms, landlines=landlines)
