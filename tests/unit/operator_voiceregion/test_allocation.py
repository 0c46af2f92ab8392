import ipaddress

import pytest

from okitoki.voiceregion.allocation import ALIASES, SLOTS, NoSlotError, allocation, choose_slot


def test_the_first_region_has_the_documented_values() -> None:
    first = allocation(0)
    assert first.ports == {
        "sip": 5060, "sips": 5061, "https": 443, "dmq": 5070, "redis": 16379, "ng": [2223, 2224], "cli": [9901, 9902],
        "agent": 9780, "tunnel": 51840,
    }  # fmt: skip
    assert first.router_ids == {"sip": 51, "https": 52, "media": [53, 54]}
    assert (first.media_aliases, first.peer_alias) == (("198.18.255.1", "198.18.255.2"), "198.18.255.3")
    assert first.tunnel == {"interface": "okitoki-wg0", "table": 20500}


def flat(values: object) -> list[object]:
    return [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]  # type: ignore[attr-defined]


def test_no_two_slots_share_anything_on_a_node_or_in_a_network() -> None:
    ports: list[object] = []
    ids: list[object] = []
    aliases: list[object] = []
    tunnels: list[object] = []
    for slot in range(SLOTS):
        given = allocation(slot)
        ports += flat(value for name, value in given.ports.items() if name not in ("sip", "sips", "https"))
        ids += flat(given.router_ids.values())
        aliases += [*given.media_aliases, given.peer_alias]
        tunnels += given.tunnel.values()
    for values in (ports, ids, aliases, tunnels):
        assert len(values) == len(set(values))
    assert all(isinstance(value, int) and 1 <= value <= 255 for value in ids)
    assert all(len(value) < 15 for value in tunnels if isinstance(value, str))
    assert all(ipaddress.IPv4Address(value) in ALIASES for value in aliases)


def test_a_region_keeps_its_slot() -> None:
    assert choose_slot("kyiv", {"kyiv": 3, "lviv": 0}, ["lviv", "kyiv"]) == 3


def test_a_new_region_takes_the_lowest_free_slot() -> None:
    assert choose_slot("kyiv", {"lviv": 0, "odesa": 2}, ["lviv", "odesa", "kyiv"]) == 1


def test_regions_made_at_the_same_time_take_different_slots() -> None:
    regions = ["lviv", "odesa", "kyiv"]
    assert [choose_slot(name, {"lviv": 0}, regions) for name in ("odesa", "kyiv")] == [1, 2]


def test_no_slot_left() -> None:
    taken = {f"r{slot}": slot for slot in range(SLOTS)}
    with pytest.raises(NoSlotError, match="delete a VoiceRegion"):
        choose_slot("kyiv", taken, [*taken, "kyiv"])
