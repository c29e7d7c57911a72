"""CORS as the frameworks of the real servers do it. Servers without a policy answer browsers as any other client.

- spring: midjourney-proxy-plus 3.7.5 (`WebMvcConfig.java`: every origin, method and header). Spring runs the interceptor that
  checks the secret before it answers a preflight, and a preflight never carries a secret: 401.
- aspnet: trueai v11.10.3 (`Program.cs`, line 404): the origin is repeated, credentials are allowed.
- gin: new-api (`middleware/cors.go`): "*" for origins and headers. A browser does not count `Authorization` as part of "*".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Policy = Literal["none", "spring", "aspnet", "gin"]

_PICTURES = "/mj/image/"
_OWN = "/sandbox/"
_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class Cors:
    """An application behind the policy of its server.

    Pictures have it only where the server itself delivers them (new-api). Elsewhere they come from Discord's CDN, whose header
    names the origin of the upload and no other (issue 6047 of discord/discord-api-docs).
    """

    def __init__(self, app: ASGIApp, *, policy: Policy, asks_for_secret: bool) -> None:
        self._app = app
        self._policy = policy
        self._asks_for_secret = asks_for_secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or pass the request on and add the headers to its answer."""
        if scope["type"] != "http" or not self._applies(scope["path"]):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        is_cross_origin = self._is_cross_origin(asked, scope["scheme"])
        if is_cross_origin and self._is_preflight(scope["method"], asked):
            await self._preflight(asked)(scope, receive, send)
            return
        added = self._simple(asked) if is_cross_origin else {}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(added)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _applies(self, path: str) -> bool:
        if path.startswith(_PICTURES):
            return self._policy == "gin"
        return self._policy != "none" and not path.startswith(_OWN)

    def _is_cross_origin(self, asked: Mapping[str, str], scheme: str) -> bool:
        """Spring and gin-contrib/cors compare the origin with the host; ASP.NET Core only looks whether there is one."""
        origin = asked.get("origin", "")
        own = f"{scheme}://{asked.get('host', '')}"
        return bool(origin) and (self._policy == "aspnet" or origin != own)

    def _is_preflight(self, method: str, asked: Mapping[str, str]) -> bool:
        return method == "OPTIONS" and (self._policy == "gin" or "access-control-request-method" in asked)

    def _simple(self, asked: Mapping[str, str]) -> dict[str, str]:
        match self._policy:
            case "spring":
                return {"access-control-allow-origin": "*", "vary": _VARY}
            case "aspnet":
                return {
                    "access-control-allow-origin": asked["origin"],
                    "access-control-allow-credentials": "true",
                    "vary": "Origin",
                }
            case _:
                return {"access-control-allow-origin": "*", "access-control-allow-credentials": "true"}

    def _preflight(self, asked: Mapping[str, str]) -> Response:
        if self._policy == "spring" and self._asks_for_secret:
            return Response(status_code=401)
        headers = self._simple(asked)
        if self._policy == "gin":
            headers |= {
                "access-control-allow-methods": "GET,POST,PUT,DELETE,OPTIONS",
                "access-control-allow-headers": "*",
                "access-control-max-age": "43200",
            }
            return Response(status_code=204, headers=headers)
        headers["access-control-allow-methods"] = asked["access-control-request-method"]
        if wanted := asked.get("access-control-request-headers"):
            headers["access-control-allow-headers"] = wanted
        if self._policy == "aspnet":
            return Response(status_code=204, headers=headers)
        return Response(status_code=200, headers=headers | {"access-control-max-age": "1800"})
