import pytest
from unit.operator_voiceregion.support import node, observed, region

from okitoki.voiceregion.build import build
from okitoki.voiceregion.facts import RegionClaim
from okitoki.voiceregion.validity import invalid_because

OTHER = RegionClaim("lviv", "lviv.okitoki.test", ("198.18.1.213", "198.18.1.220"), older=True)


def test_a_good_region() -> None:
    assert invalid_because(region(), observed()) is None


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"nodes": (node(208),)}, "AddressOfNode", "spec.addresses.sip: 198.18.1.210 is node worker208's"),
        ({"nodes": (node(0, pod_ranges=("198.18.1.0/24",)),)}, "AddressOfPods", "pod range of node worker0"),
        ({"others": (OTHER,)}, "AddressTaken", "spec.addresses.media[1]: 198.18.1.213 is VoiceRegion lviv's"),
        (
            {"others": (RegionClaim("lviv", "kyiv.okitoki.test", (), older=True),)},
            "DomainTaken",
            "spec.domain: kyiv.okitoki.test is VoiceRegion lviv's",
        ),
    ],
)
def test_what_others_have_is_refused_by_field(changes: dict[str, object], reason: str, said: str) -> None:
    found = invalid_because(region(), observed(**changes))
    assert found is not None
    assert found[0] == reason
    assert said in found[1]


def test_an_address_of_a_carrier_or_of_the_edges_own_range_is_refused() -> None:
    carriers = [{"name": "main", "hosts": ["198.18.1.211"]}]
    assert (invalid_because(region(carriers=carriers), observed()) or [""])[0] == "AddressOfCarrier"
    addresses = {"sip": "198.18.255.9", "https": "198.18.1.211", "media": ["198.18.1.212", "198.18.1.213"]}
    assert (invalid_because(region(addresses=addresses), observed()) or [""])[0] == "AddressReserved"


def test_the_older_region_keeps_an_address_and_is_not_stopped() -> None:
    younger = RegionClaim("lviv", "lviv.okitoki.test", ("198.18.1.213",), older=False)
    assert invalid_because(region(), observed(others=(younger,))) is None


def test_a_region_that_may_not_have_its_addresses_is_left_as_it_is() -> None:
    assert build(region(), observed(others=(OTHER,))) == []
