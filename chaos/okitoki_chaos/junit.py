"""The report as JUnit's XML, one case per fault, for whatever CI shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from okitoki_chaos.runner import NOT_POSSIBLE


def render(found: Mapping[str, Any]) -> str:
    """A test suite. What a driver cannot do is `skipped` with its reason; that is no failure, and it is not silent."""
    cases, failed, skipped = [], 0, 0
    for item in found["items"]:
        body = ""
        if item["failures"]:
            failed += 1
            words = "\n".join(one["words"] for one in item["failures"])
            body = f"<failure message={quoteattr(item['failures'][0]['words'])}>{escape(words)}</failure>"
        elif item["outcome"] == NOT_POSSIBLE:
            skipped += 1
            body = f"<skipped message={quoteattr(str(item['error']))}/>"
        time = item["figures"].get("wholeAfterSeconds") or 0
        cases.append(
            f'  <testcase classname={quoteattr(item["experiment"])} name={quoteattr(item["name"])} time="{time}">'
            f"{body}</testcase>"
        )
    told = tuple(f"{item['name']}:" for item in found["items"])
    others = [words for words in found["failures"] if not words.startswith(told)]
    failed += bool(others)
    body = f"<failure message={quoteattr(others[0])}>{escape(chr(10).join(others))}</failure>" if others else ""
    cases.append(f'  <testcase classname="drill" name="nothing lost, nothing else wrong">{body}</testcase>')
    name, count = quoteattr(f"drill {found['plan']}"), len(cases)
    head = f'<testsuite name={name} tests="{count}" failures="{failed}" skipped="{skipped}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>", ""])
