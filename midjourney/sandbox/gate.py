"""Authentication: check the secret in the headers that the profile accepts, and answer unauthorized requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from midjourney.sandbox.profiles import ServerProfile

Handler = Callable[[Request], Awaitable[Response]]


class Gate:
    """Passes on requests with the secret, or all requests if the secret is ""."""

    def __init__(self, profile: ServerProfile, secret: str) -> None:
        self._profile = profile
        self._secret = secret

    def guarded(self, handler: Handler) -> Handler:
        """A handler that only handles authorized requests."""

        async def handle(request: Request) -> Response:
            return await handler(request) if self._is_authorized(request) else self._unauthorized(request)

        return handle

    def _is_authorized(self, request: Request) -> bool:
        header = request.headers.get("authorization", "")
        given = {
            "mj-api-secret": request.headers.get("mj-api-secret", ""),
            "bearer": header.removeprefix("Bearer ") if header.startswith("Bearer ") else "",
            "raw": header,
        }
        return not self._secret or any(given[way] == self._secret for way in self._profile.auth)

    def _unauthorized(self, request: Request) -> Response:
        match self._profile.unauthorized:
            case "text":
                missing = "authorization" not in request.headers and "mj-api-secret" not in request.headers
                text = "Authorization header missing." if missing else "Invalid token."
                return Response(text, status_code=401 if missing else 403)
            case "openai":
                error = {"message": "invalid token", "type": "new_api_error", "code": ""}
                return json_response({"error": error}, 401)
            case _:
                return Response(status_code=401)


def json_response(value: object, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
