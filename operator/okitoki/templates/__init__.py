"""Configuration files as Jinja2 templates, strict: a missing value is an error, not an empty string."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def _environment() -> Environment:
    # Not HTML: these files have no markup to escape.
    return Environment(
        loader=PackageLoader("okitoki"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )


def render(template: str, **values: Any) -> str:
    """The text of `okitoki/templates/TEMPLATE` with its values.

    Raises:
        jinja2.UndefinedError: when a value is missing.
    """
    return _environment().get_template(template).render(values)
