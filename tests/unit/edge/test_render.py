"""Configuration files: the lines that failover rests on (voice traps), and that each facts' value reaches its file."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from unit.edge.support import facts

from okitoki_agents.edge import render

NODE, PEER = "198.18.16.11", "198.18.16.12"


def test_redis_has_a_password_and_one_address(tmp_path: Path) -> None:
    text = render.redis(facts(tmp_path))
    assert f"\nbind {NODE}\n" in text
    assert "\nrequirepass redispassword0000001\n" in text
    assert "\nnotify-keyspace-events AKE\n" in text
    assert "replicaof" not in text


@pytest.mark.parametrize(
    ("number", "address", "ng", "cli"), [(1, "198.18.16.201", 2223, 9901), (2, "198.18.16.202", 2224, 9902)]
)
def test_an_engine_reads_the_peer_and_writes_its_own(
    tmp_path: Path, number: int, address: str, ng: int, cli: int
) -> None:
    lines = render.rtpengine(facts(tmp_path), number).splitlines()
    assert f"interface = {address}" in lines
    assert f"listen-ng = {address}:{ng};127.0.0.1:{ng}" in lines
    assert f"listen-cli = 127.0.0.1:{cli}" in lines
    assert f"redis = redispassword0000001@198.18.255.3:16379/{number}" in lines
    assert f"redis-write = redispassword0000001@{NODE}:16379/{number}" in lines
    assert f"subscribe-keyspace = {number}" in lines
    for needed in ("table = -1", "active-switchover = true", "delete-delay = 0", "redis-cmd-timeout = 200"):
        assert needed in lines


def test_kamailio_never_sends_media_past_an_engine(tmp_path: Path) -> None:
    text = render.kamailio(facts(tmp_path), 7)
    offer = text[text.index("route[OFFER]") : text.index("route[RELEASE]")]
    assert offer.count("if (rtpengine_offer(") == 2
    assert offer.rindex("$avp(offered) = -1;") > offer.rindex("rtpengine_offer(")
    # Wherever an offer was made, nothing goes on without an engine.
    assert len(re.findall(r"route\(OFFER\);\n\s+(if \(\$avp\(offered\) < 0\) drop;|route\(WITH_RELAY\);)", text)) == 3
    assert text.count("route(OFFER);") == 3
    answer = text[text.index("\nreply_route {") :]
    assert re.search(r"if \(!rtpengine_answer\(MEDIA_FLAGS\)\) \{.*?drop;", answer, re.S)
    assert "DTLS=off" in text


def test_kamailio_keeps_the_source_of_its_commands_and_marks_them_apart(tmp_path: Path) -> None:
    text = render.kamailio(facts(tmp_path), 12345)
    assert "\nserver_id=12345\n" in text
    assert f'modparam("rtpengine", "force_send_interface", "{NODE}")' in text


def test_kamailio_takes_calls_from_the_carriers_only(tmp_path: Path) -> None:
    one = render.kamailio(facts(tmp_path), 7)
    route = one[one.index("route[IS_CARRIER]") :].split("\n}\n")[0]
    assert re.findall(r'\$si == "([^"]+)"', route) == ["198.18.16.150", "198.18.16.151"]
    assert route.endswith("return -1;")


def test_kamailio_does_not_empty_redis(tmp_path: Path) -> None:
    assert '"flush_on_reconnect"' not in render.kamailio(facts(tmp_path), 7)


def test_a_frozen_redis_cannot_hold_a_worker_of_kamailio(tmp_path: Path) -> None:
    """Seen on a cluster: beside a paused peer every worker waited for the answer to AUTH until the peer woke. ndb_redis
    sends the password of a server's parameters on each new connection before it sets cmd_timeout."""
    text = render.kamailio(facts(tmp_path), 7)
    servers = re.findall(r'modparam\("ndb_redis", "server", "(.*)"\)', text)
    assert len(servers) == 2
    assert not any("pass=" in server for server in servers)
    assert 'modparam("ndb_redis", "cmd_timeout", 100)' in text
    for server in ("own", "peer"):
        route = text[text.index(f"route[WRITE_{server.upper()}]") :].split("\n}\n")[0]
        commands = re.findall(rf'redis_cmd\("{server}", "(\w+)', route)
        assert commands == ["AUTH", "HSET", "AUTH", "HSET"]


def test_keepalived_one_instance_for_each_address_with_its_service(tmp_path: Path) -> None:
    text = render.keepalived(facts(tmp_path), "eth0", PEER)
    instances = dict(re.findall(r"vrrp_instance (\S+) \{(.*?)\n\}", text, re.S))
    assert set(instances) == {"sip", "https", "media-1", "media-2"}
    for name, ip, router, service in [
        ("sip", "198.18.16.200", 51, "kamailio"),
        ("https", "198.18.16.203", 52, "haproxy"),
        ("media-1", "198.18.16.201", 53, "rtpengine-1"),
        ("media-2", "198.18.16.202", 54, "rtpengine-2"),
    ]:
        body = instances[name]
        assert f"{ip}/32 dev eth0" in body
        assert f"virtual_router_id {router}\n" in body
        assert re.search(rf"track_file \{{\s+{service}\s+guard_renews\s+\}}", body)
        assert re.search(rf"unicast_peer \{{\s+{PEER}\s+\}}", body)
        assert "nopreempt" in body
        assert "advert_int 0.04\n" in body
        assert "down_timer_adverts 8\n" in body


@pytest.mark.parametrize(("interval", "expected"), [(100, ("0.04", 8)), (200, ("0.08", 8)), (10, ("0.01", 3))])
def test_more_adverts_in_the_same_time(interval: int, expected: tuple[str, int]) -> None:
    assert render.adverts(interval) == expected


def test_keepalived_without_a_peer_does_not_multicast(tmp_path: Path) -> None:
    assert re.search(r"unicast_peer \{\s+198.18.255.3\s+\}", render.keepalived(facts(tmp_path), "eth0", ""))


def test_each_address_is_at_home_on_one_node(tmp_path: Path) -> None:
    first, second = render.priorities(facts(tmp_path, 0)), render.priorities(facts(tmp_path, 1))
    assert all({first[name], second[name]} == {150, 100} for name in first)
    assert first["media-1"] > second["media-1"]
    assert first["media-2"] < second["media-2"]


def test_nft_closes_what_is_not_public(tmp_path: Path) -> None:
    text = render.nftables(facts(tmp_path), "eth0", PEER)
    assert "flags owner;" in text
    assert f"ip daddr 198.18.255.3 dnat to {PEER}" in text
    assert f"ip saddr {{ {NODE}, {PEER} }} accept" in text
    closed = re.findall(r"(tcp|udp) dport \{ ([^}]+) \} drop", text)
    assert dict(closed) == {"tcp": "16379, 9780, 9901, 9902", "udp": "5070, 51840, 2223, 2224"}
    assert "@th,8,8 { 51, 52, 53, 54 } drop" in text
    closed_chain = text[text.index("chain closed {") :]
    assert closed_chain.index('iifname "eth0" counter name heard') < closed_chain.index("ip saddr")


def rules(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_nft_lets_redis_and_commands_in_and_out_through_the_tunnel_only(tmp_path: Path) -> None:
    found = rules(render.nftables(facts(tmp_path), "eth0", PEER))
    accepts_peer = found.index(f"ip saddr {{ {NODE}, {PEER} }} accept")
    assert found.index('iifname "okitoki-wg0" tcp dport 16379 accept') < accepts_peer
    assert found.index('iifname "okitoki-wg0" meta l4proto { tcp, udp } drop') < accepts_peer
    assert found.index(f"ip daddr {NODE} tcp dport 16379 drop") < accepts_peer
    assert found.index("ip daddr { 198.18.16.201, 198.18.16.202 } udp dport { 2223, 2224 } drop") < accepts_peer
    sealed = found[found.index("chain sealed {") : found.index("chain closed {")]
    assert 'oifname { "lo", "okitoki-wg0" } accept' in sealed
    assert f"ip daddr {PEER} tcp dport 16379 drop" in sealed


def test_nft_lets_a_peer_of_a_version_without_a_tunnel_in_as_before(tmp_path: Path) -> None:
    found = rules(render.nftables(facts(tmp_path), "eth0", PEER, plain=True))
    assert "chain sealed {" not in found
    assert f"ip daddr {NODE} tcp dport 16379 drop" not in found
    assert f"ip saddr {{ {NODE}, {PEER} }} accept" in found


def test_only_the_peer_that_was_found_without_a_tunnel_is_plain(tmp_path: Path) -> None:
    here = facts(tmp_path)
    assert not render.peer_is_plain(here)
    here.paths.peer.parent.mkdir(parents=True)
    here.paths.peer.write_text(f"{PEER}\n")
    here.paths.plain_peer.write_text(f"{PEER}\n")
    assert render.peer_is_plain(here)
    here.paths.peer.write_text("198.18.16.13\n")
    assert not render.peer_is_plain(here)
    here.paths.peer.write_text("\n")
    here.paths.plain_peer.write_text("\n")
    assert not render.peer_is_plain(here)


def test_one_phone_with_a_wrong_password_does_not_close_an_address_to_the_others(tmp_path: Path) -> None:
    text = render.kamailio(facts(tmp_path), 1)
    assert "$sht(refused=>$si) > 300 || $sht(refused=>$au@$fd@$si) > 30" in text
    # A count that began anew with each of its wrong passwords would never end.
    assert "refused=>size=8;autoexpire=60;initval=0;updateexpire=0;" in text


def test_nft_bounds_what_a_stranger_may_send_to_the_sip_address_and_no_carrier(tmp_path: Path) -> None:
    text = render.nftables(facts(tmp_path), "eth0", PEER)
    assert (
        f"ip daddr 198.18.16.200 ip saddr != {{ {NODE}, {PEER}, 198.18.16.150, 198.18.16.151 }} jump strangers" in text
    )
    rules = [line for line in text.splitlines() if "update @" in line]
    assert len(rules) == len(render.FLOODS)
    for rule, (name, flood) in zip(rules, render.FLOODS.items(), strict=True):
        assert f"set {name} {{" in text
        assert f"@{name} {{ ip saddr limit rate over {flood.rate}/second burst {flood.burst} packets }}" in rule
        assert rule.endswith("drop")


def test_nft_without_a_peer_refuses_its_alias_at_once(tmp_path: Path) -> None:
    text = render.nftables(facts(tmp_path), "eth0", "")
    assert "dnat" not in text
    assert "ip daddr 198.18.255.3 meta l4proto tcp reject with tcp reset" in text


def test_the_peer_file_may_be_absent(tmp_path: Path) -> None:
    here = facts(tmp_path)
    assert render.peer_of(here) == ""
    here.paths.peer.parent.mkdir(parents=True)
    here.paths.peer.write_text(f"{PEER}\n")
    assert render.peer_of(here) == PEER


def test_a_configuration_is_for_root_only(tmp_path: Path) -> None:
    file = replace(facts(tmp_path)).paths.conf / "redis.conf"
    render.install(file, "one")
    render.install(file, "two")
    assert file.read_text() == "two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in file.parent.iterdir()] == ["redis.conf"]


def test_engines_are_asked_again_every_second_and_not_only_by_the_next_call(tmp_path: Path) -> None:
    """Seen on a cluster: both engines counted as away since the start, and of six calls at once five were refused."""
    text = render.kamailio(facts(tmp_path), 7)
    assert 'modparam("rtimer", "timer", "name=engines;interval=1;mode=1;")' in text
    assert re.search(r"route\[ENGINES\] \{\s+jsonrpc_exec\(.*rtpengine\.ping.*all", text)


def test_new_calls_get_ports_from_one_node_only(tmp_path: Path) -> None:
    """Seen on a cluster: both nodes held an address for a moment and gave the same ports to different calls."""
    refuses = {
        (ordinal, number): "\nmax-sessions = 0\n" in render.rtpengine(facts(tmp_path, ordinal), number)
        for ordinal in (0, 1)
        for number in (1, 2)
    }
    assert refuses == {(0, 1): False, (0, 2): True, (1, 1): True, (1, 2): False}


def test_the_master_that_stays_announces_itself_after_there_were_two(tmp_path: Path) -> None:
    """Seen in the lab: the last gratuitous ARP was that of the node that had yielded; calls were silent for 9 s."""
    text = render.keepalived(facts(tmp_path), "eth0", PEER)
    for setting in ("higher_prio_send_advert true", "garp_lower_prio_repeat 2", "garp_master_refresh_repeat 1"):
        assert f"vrrp_{setting}\n" in text
    assert not re.search(r"^\s*vrrp_min_garp", text, re.M)


def test_a_landline_is_called_within_three_seconds_whatever_phones_do() -> None:
    """The last phone is tried before LAST_TRY_MS and is silent for SILENCE_MS; tm's timer comes up to 0.2 s late."""
    assert render.LAST_TRY_MS + render.SILENCE_MS + 200 < 3000


def test_phones_over_tls_have_no_older_version_than_1_2_and_nobody_else_s_certificate(tmp_path: Path) -> None:
    here = facts(tmp_path)
    text = render.kamailio(here, 7)
    assert "\nlisten=tls:198.18.16.200:5061\n" in text
    assert text.index('loadmodule "tls.so"') < text.index('loadmodule "tm.so"')
    assert f'modparam("tls", "config", "{here.paths.conf}/tls.cfg")' in text
    server = render.tls(here).partition("[client:default]")[0]
    assert "\nmethod = TLSv1.2+\n" in server
    assert f"\ncertificate = {here.paths.sip_certificate}\nprivate_key = {here.paths.sip_certificate}\n" in server


def test_a_phone_over_tls_is_offered_srtp_and_no_call_dtls(tmp_path: Path) -> None:
    text = render.kamailio(facts(tmp_path), 7)
    branch = text[text.index("branch_route[AGENT]") :].split("\n}\n")[0]
    assert re.search(r'if \(\$du =~ "transport=tls".*?RTP/SAVP', branch, re.S)
    assert re.search(r'#!define MEDIA_FLAGS ".*DTLS=off', text)


def test_what_was_signed_before_calls_could_be_encrypted_is_signed_so_still(tmp_path: Path) -> None:
    """A call that goes on during an upgrade has a route without `ms`."""
    sign = render.kamailio(facts(tmp_path), 7)
    sign = sign[sign.index("route[SIGN]") :].split("\n}\n")[0]
    assert sign.index("+ $var(facts);") < sign.index('if ($var(ms) != "")')


def test_beyond_the_limit_new_calls_are_refused_with_a_time_to_try_again_and_calls_in_progress_are_not_asked(
    tmp_path: Path,
) -> None:
    here = facts(tmp_path)
    limited = render.kamailio(replace(here, region=replace(here.region, max_calls=40)), 7)
    admit = limited[limited.index("route[ADMIT]") :].split("\n}\n")[0]
    assert "if ($var(calls) < 40)" in admit
    assert admit.index("Retry-After: 10") < admit.index('sl_send_reply("503"')
    # Void when nobody has counted: every call is let in.
    assert "if ($sht(load=>calls) == $null) return;" in admit
    assert "ADMIT" not in limited[limited.index("route[IN_DIALOG]") : limited.index("route[REGISTER]")]
    assert limited.count("route(ADMIT);") == 2
    # Nobody who has not shown who he is fills the count.
    agent = limited[limited.index("route[FROM_AGENT]") :]
    assert agent.index("route(AUTHENTICATE);") < agent.index("route(ADMIT);")
    assert "503" not in render.kamailio(here, 7).partition("route[ADMIT]")[2].split("\n}\n")[0]


def test_a_named_set_is_made_so_that_the_nft_of_kube_proxy_can_list_it(tmp_path: Path) -> None:
    """Seen on a cluster: nft 1.0.6 dies of a set that nft 1.1 made by `type`, kube-proxy gives up, and no Service that
    is new or has moved is reached from the node any more."""
    rules = render.nftables(facts(tmp_path), "eth0", "198.18.16.12")
    sets = re.findall(r"^ *set \w+ \{([^}]*)\}", rules, re.MULTILINE)
    assert sets
    assert all(re.search(r"^ *typeof ", one, re.MULTILINE) for one in sets)
    assert not any(re.search(r"^ *type ", one, re.MULTILINE) for one in sets)
