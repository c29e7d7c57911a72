"""What clients order by multipart forms: paid once, as in JSON, and the upstream gets JSON."""

from __future__ import annotations

import base64
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.customer import CLIENTS
from tests.support.shop import Shop

pytestmark = pytest.mark.xdist_group("gateway forms")
SETTINGS = CLIENTS
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100


def url_of(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def post(
    shop: Shop, path: str, data: dict[str, Any], *images: bytes, name: str = "base64Array", **headers: str
) -> httpx.Response:
    files = [(name, ("a.png", image, "image/png")) for image in images]
    return shop.ann.http.post(path, data=data, files=files, headers=headers)


def test_a_form_is_an_order(shop: Shop, eventually: Any) -> None:
    """Large and small pictures arrive as data URLs, in their order; the state comes back; it is paid once."""
    small = PICTURE[:40]
    told = post(shop, "/submit/imagine", {"prompt": "by a form", "state": "mine"}, PICTURE, small).json()
    assert told["code"] == 1, told
    eventually(lambda: shop.ann.has_ended(told["result"]))
    assert shop.ann.fetch(told["result"])["state"] == "mine"
    [paid] = shop.paid("by a form")
    assert paid.body["base64Array"] == [url_of(PICTURE), url_of(small)]


def test_a_form_with_another_boundary_is_the_same_order(shop: Shop, eventually: Any) -> None:
    """With an Idempotency-Key; the same content as JSON too. Another picture is refused."""
    headers = {"idempotency-key": "form 1"}
    tickets = {
        post(shop, "/submit/imagine", {"prompt": "by two forms"}, PICTURE, **headers).json()["result"]
        for _ in range(2)
    }
    tickets.add(
        shop.ann.ticket("imagine", key="form 1", prompt="by two forms", base64Array=[url_of(PICTURE)])
    )
    assert len(tickets) == 1
    other = post(shop, "/submit/imagine", {"prompt": "by two forms"}, PICTURE + b"!", **headers).json()
    assert (other["code"], other["result"]) == (4, None)
    eventually(lambda: shop.ann.has_ended(*tickets))
    assert len(shop.paid("by two forms")) == 1


def test_a_form_whose_answer_was_cut_off_is_recognised(shop: Shop, eventually: Any) -> None:
    """The client hangs up while the upstream takes the order, and repeats it with a new boundary: one ticket, paid once."""
    prompt = "a form that was cut off"
    form = httpx.Request(
        "POST", "http://x", data={"prompt": prompt}, files={"image": ("a.png", PICTURE, "image/png")}
    )
    body, address = form.read(), urlsplit(shop.server.url)
    with shop.while_it(registers_after_s=0.5):
        with socket.create_connection((address.hostname, address.port)) as client:
            head = (
                "POST /mj/submit/imagine HTTP/1.1\r\nhost: x\r\nmj-api-secret: ann-key-1\r\n"
                f"content-type: {form.headers['content-type']}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            client.sendall(head.encode() + body)
            shop.upstream.ledger.until(
                lambda: [one for one in shop.upstream.ledger.came("imagine") if one.body["prompt"] == prompt]
            )
        told = post(shop, "/submit/imagine", {"prompt": prompt}, PICTURE, name="image").json()
    eventually(lambda: shop.ann.has_ended(told["result"]))
    assert [task["id"] for task in shop.ann.http.get("/task/list").json() if task["prompt"] == prompt] == [
        told["result"]
    ]
    assert len(shop.paid(prompt)) == 1


def test_what_is_wrong_with_a_form_is_said_where_people_look(shop: Shop) -> None:
    """A field by its name, with HTTP 200, which many clients show; a form that is none with 400. Nothing is paid."""
    unknown = post(shop, "/submit/imagine", {"prompt": "a wrong form"}, PICTURE, name="avatar")
    assert (unknown.status_code, unknown.json()["code"]) == (200, 4)
    assert unknown.json()["description"].startswith("avatar: no file is expected here")
    missing = post(shop, "/submit/blend", {}, PICTURE)
    assert (missing.json()["code"], "2 to 5 images" in missing.json()["description"]) == (4, True)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    broken = shop.ann.http.post("/submit/imagine", content=b"a wrong form", headers=headers)
    assert (broken.status_code, broken.json()["code"]) == (400, 4)
    assert shop.paid("a wrong form") == []


def test_pictures_are_uploaded_by_a_form(shop: Shop) -> None:
    """They are passed on as JSON; this upstream refuses uploads, and the client is told so."""
    told = post(shop, "/submit/upload-discord-images", {}, PICTURE, PICTURE[:40], name="images[]")
    assert told.json()["code"] == 9
    [came] = shop.upstream.ledger.came("upload-discord-images")
    assert came.body["base64Array"] == [url_of(PICTURE), url_of(PICTURE[:40])]
