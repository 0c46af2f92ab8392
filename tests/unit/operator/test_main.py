"""Kopf tells of events; it compares and stores nothing (what it tells: tests/api/test_process.py)."""

from __future__ import annotations

from typing import Any, cast

import kopf

from okitoki.main import configure_kopf


def test_kopf_keeps_nothing_of_an_object_and_adds_nothing_to_it() -> None:
    settings = kopf.OperatorSettings()
    configure_kopf(settings)
    body = cast(Any, {"metadata": {"annotations": {"a": "b"}}, "spec": {"displayName": "Acme"}})
    patch = kopf.Patch()
    differences, progress = settings.persistence.diffbase_storage, settings.persistence.progress_storage
    assert progress.clear(essence=differences.build(body=body)) == {}
    differences.store(body=body, patch=patch, essence=cast(Any, {"spec": {}}))
    progress.store(key=cast(Any, "notice"), record=cast(Any, {}), body=body, patch=patch)
    progress.touch(body=body, patch=patch, value="now")
    progress.purge(key=cast(Any, "notice"), body=body, patch=patch)
    assert not patch
    assert differences.fetch(body=body) is None
    assert progress.fetch(key=cast(Any, "notice"), body=body) is None
