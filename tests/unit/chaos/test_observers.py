from __future__ import annotations

from okitoki_chaos.observers import Changes, condition_line, holder_line, leader_line


def test_lines_of_the_watches_are_read() -> None:
    assert leader_line("tenant-acme|postgres-1") == [{"event": "primary", "of": "acme", "is": "postgres-1"}]
    assert leader_line("tenant-acme|")[0]["is"] == "nobody"
    assert leader_line("default|x") == []
    assert holder_line('okitoki-region-kyiv|edge-0|{"holds": ["sip", "media-1"]}') == [
        {"event": "holder", "of": "kyiv sip", "is": "edge-0"},
        {"event": "holder", "of": "kyiv media-1", "is": "edge-0"},
    ]
    assert holder_line("okitoki-region-kyiv|edge-0|") == []
    assert holder_line('okitoki-region-kyiv|edge-0|{"hol') == []
    assert condition_line("Tenant|acme|Ready=False:Failing,Applied=True:Applied,") == [
        {"event": "condition", "of": "tenant acme Ready", "is": "False:Failing"},
        {"event": "condition", "of": "tenant acme Applied", "is": "True:Applied"},
    ]
    assert condition_line("") == []


def test_what_is_repeated_is_no_change() -> None:
    changes = Changes()
    assert len(changes.of(leader_line("tenant-acme|postgres-1"))) == 1
    assert changes.of(leader_line("tenant-acme|postgres-1")) == []
    assert len(changes.of(leader_line("tenant-acme|postgres-2"))) == 1
