"""Whatever goes wrong, a person reads what; programs get problem bodies."""

from __future__ import annotations

import html

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from hooks.dashboard.errors import UNEXPECTED, with_error_pages
from tests.hooks.conftest import Site

BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
PARTIAL = {"hx-request": "true", "accept": "text/html"}


async def _broken(_request: Request) -> Response:
    raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize("headers", [BROWSER, PARTIAL])
async def test_a_mistake_of_ours_is_told_in_words_and_logged_whole(headers: dict[str, str]) -> None:
    transport = httpx.ASGITransport(Starlette(routes=[Route("/", with_error_pages(_broken))]))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        with capture_logs() as logs:
            answer = await http.get("/", headers=headers)
    assert answer.status_code == 500
    assert UNEXPECTED in html.unescape(answer.text)
    assert "a mistake of ours" not in answer.text
    assert ("hx-retarget" in answer.headers) == (headers is PARTIAL)
    assert [(one["event"], one["path"], one["exc_info"]) for one in logs] == [("a page failed", "/", True)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/imagine", 405), ("POST", "/rules", 405)],
)
async def test_where_nothing_is_a_browser_gets_a_page_and_a_program_a_problem(
    site: Site, method: str, path: str, status: int
) -> None:
    page = await site.http.request(method, path, headers=BROWSER)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="/"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert ("allow" in page.headers) == (status == 405)
    part = await site.http.request(method, path, headers=PARTIAL)
    assert (part.status_code, part.headers["hx-retarget"]) == (status, "#toasts")
    problem = await site.http.request(method, path)
    assert problem.headers["content-type"] == "application/problem+json"


async def test_the_api_speaks_json_to_browsers_too(site: Site) -> None:
    answer = await site.http.get("/api/nowhere", headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_an_error_of_a_part_is_shown_whatever_its_form_selects(site: Site) -> None:
    """htmx applies the form's own hx-select to errors too, unless another is sent."""
    answer = await site.http.post("/imagine", headers=PARTIAL)
    assert answer.headers["hx-reselect"] == ".toast"
    assert 'class="toast error"' in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?before=%C2%B2-x", 422),
        ("/?text=" + "x" * 60_000, 200),
        ("/?text=" + "%25" * 20_000, 200),
        ("/tasks/main/" + "x" * 3000, 404),
        ("/?text=%00&upstream=%00&rule=%00", 200),
        ("/operations?text=%00&body=%00&receiver=%00&upstream=%00", 200),
        ("/tasks/main/%00", 404),
        ("/chains/%00", 404),
    ],
)
async def test_an_odd_address_is_no_500(site: Site, path: str, status: int) -> None:
    assert (await site.http.get(path)).status_code == status


@pytest.mark.parametrize("number", ["9" * 19, "9" * 30, "²", "-1", "x"])
async def test_a_number_that_no_body_in_quarantine_has_is_not_there(site: Site, number: str) -> None:
    answer = await site.http.post(f"/operations/quarantine/{number}", data={"do": "drop"}, headers=BROWSER)
    assert answer.status_code == 404
