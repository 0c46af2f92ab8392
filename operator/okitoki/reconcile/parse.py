"""From a raw object to its model, with an error that names the field."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from okitoki.kube.resources import Manifest
from okitoki.reconcile.kind import InvalidResource

M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], raw: Manifest) -> M:
    """A model with fields `metadata` and `spec`.

    Raises:
        InvalidResource: naming the first wrong field; objects older than a CRD's rule get here.
    """
    try:
        return model.model_validate({"metadata": raw["metadata"], "spec": raw.get("spec") or {}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise InvalidResource(path, first["msg"].removeprefix("Value error, ")) from error
