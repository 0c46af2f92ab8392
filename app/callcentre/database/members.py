"""The members of the tenant's PostgreSQL cluster, as the operator names them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One PostgreSQL server: `name` in logs and `/readyz`, `host` a name or an address, `port` its TCP port."""

    name: str
    host: str
    port: int


def parse_members(text: str) -> tuple[Member, ...]:
    """Read `postgres-0:5432,postgres-1:5432`. Raises ValueError that says what is wrong with which part."""
    members: list[Member] = []
    for part in (piece.strip() for piece in text.split(",")):
        host, separator, port = part.rpartition(":")
        if not separator or not host:
            raise ValueError(
                f"DB_MEMBERS: {part!r} is not HOST:PORT; write for example postgres-0:5432,postgres-1:5432"
            )
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"DB_MEMBERS: {port!r} in {part!r} is not a port; give a number from 1 to 65535")
        members.append(Member(name=host if port == "5432" else part, host=host, port=int(port)))
    names = [member.name for member in members]
    if len(set(names)) != len(names):
        raise ValueError("DB_MEMBERS: a member is named twice; name each member once")
    return tuple(members)
