"""Browsers: which dialect lets pages of other origins read its answers, and how it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from midjourney.sandbox.app import SandboxOptions, create_app
from midjourney.sandbox.profiles import PROFILES

PAGE = "https://page.example"
ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,mj-api-secret",
}
FETCH = "/mj/task/nobody/fetch"


async def ask(
    dialect: str, method: str, path: str, headers: dict[str, str], *, secret: str = ""
) -> httpx.Response:
    app = create_app(SandboxOptions(dialect=dialect, secret=secret, seed=1))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://mj.example", trust_env=False
    ) as http:
        return await http.request(method, path, headers=headers)


async def preflight(dialect: str, secret: str = "") -> httpx.Response:
    return await ask(dialect, "OPTIONS", "/mj/submit/imagine", {"origin": PAGE, **ASKS}, secret=secret)


def cors(answer: httpx.Response) -> dict[str, str]:
    """The headers that decide what a browser does."""
    start = "access-control-"
    return {key.removeprefix(start): value for key, value in answer.headers.items() if key.startswith(start)}


PREFLIGHTS = {
    "mj-plus": (200, {"allow-origin": "*", "allow-methods": "POST", "allow-headers": "content-type,mj-api-secret", "max-age": "1800"}),
    "trueai": (
        204,
        {"allow-origin": PAGE, "allow-credentials": "true", "allow-methods": "POST", "allow-headers": "content-type,mj-api-secret"},
    ),
    "new-api": (
        204,
        {
            "allow-origin": "*",
            "allow-credentials": "true",
            "allow-methods": "GET,POST,PUT,DELETE,OPTIONS",
            "allow-headers": "*",
            "max-age": "43200",
        },
    ),
    "novicezk": (405, {}),
}  # fmt: skip


@pytest.mark.parametrize("dialect", PREFLIGHTS)
async def test_a_preflight_is_answered_as_each_framework_answers_it(dialect: str) -> None:
    """Spring and ASP.NET Core repeat what was asked for, gin names what it has; novicezk knows no CORS."""
    answer = await preflight(dialect)
    assert (answer.status_code, cors(answer)) == PREFLIGHTS[dialect]


@pytest.mark.parametrize("dialect", PROFILES)
async def test_an_answer_can_be_read_by_another_page_where_the_real_ones_allow_it(dialect: str) -> None:
    """Also a 401. A request that names no origin gets no header."""
    path = ("/v1" if dialect == "v1-relay" else "") + FETCH
    allowed = {"mj-plus": "*", "trueai": PAGE, "new-api": "*"}.get(dialect)
    for secret in ("", "s"):
        answer = await ask(dialect, "GET", path, {"origin": PAGE}, secret=secret)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert ("access-control-allow-credentials" in answer.headers) == (dialect in ("trueai", "new-api"))
        assert cors(await ask(dialect, "GET", path, {}, secret=secret)) == {}


async def test_plus_asks_even_a_preflight_for_its_secret() -> None:
    """Spring runs the interceptor first, and a browser sends no secret with a preflight: no page can use such a server."""
    answer = await preflight("mj-plus", "s")
    assert (answer.status_code, cors(answer)) == (401, {})


@pytest.mark.parametrize(("dialect", "status"), [("trueai", 204), ("new-api", 204)])
async def test_others_answer_a_preflight_before_they_ask(dialect: str, status: int) -> None:
    """Their CORS comes before their keys."""
    answer = await preflight(dialect, "s")
    assert answer.status_code == status


@pytest.mark.parametrize(("dialect", "headers"), [("mj-plus", set()), ("new-api", set()), ("trueai", {"allow-origin", "allow-credentials"})])  # fmt: skip
async def test_a_page_of_the_same_origin_is_no_stranger(dialect: str, headers: set[str]) -> None:
    """Spring and gin-contrib/cors compare the origin with the host; ASP.NET Core does not."""
    answer = await ask(dialect, "GET", FETCH, {"origin": "http://mj.example"})
    assert set(cors(answer)) == headers


@pytest.mark.parametrize(
    ("dialect", "is_readable"), [("mj-plus", False), ("trueai", False), ("new-api", True)]
)
def test_only_pictures_of_the_server_itself_can_be_read(
    dialect: str, is_readable: bool, start_sandbox: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """Those of Discord's CDN name the origin of their upload. The ledger is nobody's business."""
    http = start_sandbox("--seed", "1", "--speed", "200", "--dialect", dialect).http
    made = http.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    task = eventually(
        lambda: (told := http.get(f"/mj/task/{made}/fetch").json())["status"] == "SUCCESS" and told
    )
    picture = http.get(task["imageUrl"], headers={"origin": PAGE})
    assert picture.content.startswith(b"\x89PNG")
    assert bool(cors(picture)) is is_readable
    assert cors(http.get("/sandbox/ledger", headers={"origin": PAGE})) == {}
