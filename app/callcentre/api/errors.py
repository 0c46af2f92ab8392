"""Every error as `{"error": {"code", "message", "field"?}}`; what is wrong and the mend, never what was given."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from callcentre.database.decisions import Outcome
from callcentre.database.runner import UnavailableError
from callcentre.store.changes import ConflictError, InvalidReferenceError, NotFoundError, RestrictedError

RETRY_AFTER = "1"

_CODES = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
_MENDS = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a known field; remove it or correct its name",
    "json_invalid": "the body is not JSON; correct it and send it as application/json",
    "model_attributes_type": "give a JSON object, sent as application/json",
    "string_type": "give a text",
    "string_unicode": "give a text in valid Unicode",
    "list_type": "give a list",
}

log = logging.getLogger(__name__)


class ApiError(Exception):
    """An error with everything that the reply says."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field


def error_response(
    status: int, code: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    body = {"code": code, "message": message}
    if field is not None:
        body["field"] = field
    return JSONResponse({"error": body}, status, headers)


def field_path(location: Sequence[int | str]) -> str:
    """`("body", "numbers", 0, "number")` as `numbers[0].number`; of a header, query or path its name."""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def describe_validation(errors: Sequence[Any]) -> tuple[str, str | None]:
    """The first of pydantic's errors as message and field. Uses its type and message, not its input."""
    first = errors[0]
    location = tuple(first["loc"])
    if first["type"] == "json_invalid":
        return _MENDS["json_invalid"], None
    field = field_path(location) or None
    message = _MENDS.get(first["type"]) or str(first["msg"]).removeprefix("Value error, ")
    return (f"{field}: {message}" if field else message), field


def describe_unavailable(error: UnavailableError) -> tuple[str, str]:
    """Code and message: whether a write may have happened decides what a client may conclude."""
    if error.outcome is Outcome.UNKNOWN:
        return "outcome_unknown", (
            "the database did not confirm the request in time; it may or may not have taken effect:"
            " send it again with the same idempotency key, or read before you repeat it"
        )
    return "database_unavailable", "no writable database within the deadline; nothing was done, send the request again"


async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
    message, field = describe_validation(error.errors())
    return error_response(422, "invalid", message, field)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers) if error.headers else None
    return error_response(error.status_code, _CODES.get(error.status_code, "error"), str(error.detail), headers=headers)


async def _api(request: Request, error: ApiError) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Bearer realm="callcentre"'} if error.status == 401 else None
    return error_response(error.status, error.code, str(error), error.field, headers)


async def _store(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ConflictError):
        return error_response(409, error.code, str(error))
    if isinstance(error, InvalidReferenceError):
        return error_response(422, "invalid", f"{error.field}: {error}", error.field)
    if isinstance(error, RestrictedError):
        return error_response(403, "tenant_restricted", str(error))
    return error_response(404, "not_found", str(error))


async def _unavailable(request: Request, error: UnavailableError) -> JSONResponse:
    code, message = describe_unavailable(error)
    return error_response(503, code, message, headers={"Retry-After": RETRY_AFTER})


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """A bug of ours. The type is logged by the access log's side, the text may hold data and stays out of the reply."""
    return error_response(500, "internal", "the app failed to handle the request; its log says why")


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.exception_handler(RequestValidationError)(_validation)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(ApiError)(_api)
    app.exception_handler(UnavailableError)(_unavailable)
    for kind in (ConflictError, InvalidReferenceError, NotFoundError, RestrictedError):
        app.exception_handler(kind)(_store)
    app.exception_handler(Exception)(_unexpected)
