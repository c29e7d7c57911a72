"""Pictures go along with a notification, as files that do not outlive it; one that cannot is an address in the text."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import apprise
import pytest
from apprise import NotifyBase
from PIL import Image
from starlette.responses import Response

from dispatcher.effects.attachments import Picture
from dispatcher.effects.notify import notify
from dispatcher.plugins.errors import GiveUp, RuleError
from hookchain.testing import Hookchain, grid, upscale

RULE = '[[rules]]\nname = "r"\non = "{on}"\nnotify = {{ to = "json://127.0.0.1/x", text = "done", attach = {attach} }}\n'


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, which is empty at the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def told(web: Any) -> list[dict[str, Any]]:
    """What the service got."""
    return [json.loads(body) for method, _, _, body in web.asked if method == "POST"]


async def test_pictures_are_attached(web: Any, make: Any, temporary: Path) -> None:
    """Whole, by Apprise's own JSON service here; the files are gone afterwards."""
    picture = make.png()
    web.answer = lambda _: Response(picture)
    address = web.url.replace("http://", "json://")
    await notify(
        "two", to=address, attach=[f"{web.url}/1.png", f"{web.url}/2.png"], chain=make.chain(web.url)
    )
    (message,) = told(web)
    assert [base64.b64decode(one["base64"]) for one in message["attachments"]] == [picture] * 2
    assert (message["message"], message["attachments"][0]["filename"]) == ("two", "picture-1.png")
    assert list(temporary.iterdir()) == []


def grid_of_four() -> tuple[bytes, list[tuple[int, ...]]]:
    """A grid of 40 x 20 pixels, and the colours of its four pictures."""
    colours: list[tuple[int, ...]] = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    canvas, data = Image.new("RGB", (40, 20)), io.BytesIO()
    for number, colour in enumerate(colours):
        x, y = number % 2 * 20, number // 2 * 10
        canvas.paste(colour, (x, y, x + 20, y + 10))
    canvas.save(data, "PNG")
    return data.getvalue(), colours


@pytest.mark.process
async def test_the_quarters_of_a_grid_are_attached(web: Any, make: Any, temporary: Path) -> None:
    """One message with four files, in the order of U1 to U4; a grid that cannot be cut is one file, and the decision says so."""
    picture, colours = grid_of_four()
    web.answer = lambda _: Response(picture)
    grids = [Picture(address=f"{web.url}/g.png", in_quarters=True)]
    await notify("four", to=web.url.replace("http://", "json://"), attach=grids, chain=make.chain(web.url))
    chain, broken = make.chain(web.url), picture[:60]
    web.answer = lambda _: Response(broken)
    await notify("one", to=web.url.replace("http://", "json://"), attach=grids, chain=chain)
    four, one = (
        [base64.b64decode(attachment["base64"]) for attachment in message["attachments"]]
        for message in told(web)
    )
    quarters = [Image.open(io.BytesIO(data)).convert("RGB") for data in four]
    assert [(quarter.size, quarter.getpixel((10, 5))) for quarter in quarters] == [
        ((20, 10), colour) for colour in colours
    ]
    assert one == [broken]
    assert "attached as one picture: the grid cannot be cut" in chain.notes
    assert list(temporary.iterdir()) == []


def test_a_rule_attaches_quarters_of_grids_only(hookchain: Hookchain) -> None:
    hookchain.load_rules(RULE.format(on="task.succeeded", attach='"quarters"'))
    address = "https://cdn.example.com/g.png"
    (told,) = hookchain.succeed(grid(imageUrl=address)).told
    assert told.attached == tuple(f"{address}#{number}" for number in (1, 2, 3, 4))
    asked = hookchain.succeed(upscale(imageUrl=address))
    assert [one.attached for one in asked.told] == [(address,)]
    assert "is not a grid" in str(asked.decisions)
    assert [one.attached for one in hookchain.succeed(grid("none", imageUrl=None)).told] == [()]


async def test_a_picture_that_cannot_be_attached_is_an_address(web: Any, make: Any, temporary: Path) -> None:
    """The message is sent all the same, and the decision says why."""
    bodies = {"/1.png": make.png(), "/2.png": b"\x89PNG\r\n\x1a\n" + b"x" * 10_500_000, "/3.png": b"<html>"}
    web.answer = lambda request: Response(
        bodies.get(request.url.path, b""), status_code=200 if request.url.path != "/4.png" else 404
    )
    chain = make.chain(web.url)
    pictures = [f"{web.url}/{n}.png" for n in (1, 2, 3, 4)] + ["http://10.0.0.1/5.png"]
    await notify("five", to=web.url.replace("http://", "json://"), attach=pictures, chain=chain)
    (message,) = told(web)
    assert len(message["attachments"]) == 1
    assert message["message"].splitlines() == ["five", *pictures[1:]]
    for why in ("10485760", "is not a PNG", "HTTP 404", "private network"):
        assert why in chain.notes
    assert list(temporary.iterdir()) == []


async def test_an_expired_address_is_asked_for_anew(web: Any, make: Any) -> None:
    """Of the task whose picture it is."""
    web.answer = lambda request: (
        Response(make.png()) if "old" not in request.url.path else Response(status_code=404)
    )
    chain = make.chain(web.url, fresh=f"{web.url}/new.png")
    address = web.url.replace("http://", "json://")
    await notify("x", to=address, attach=[Picture(address=f"{web.url}/old.png", task_id="17")], chain=chain)
    assert len(told(web)[0]["attachments"]) == 1


async def test_a_service_without_attachments_gets_addresses(
    web: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each; the other service gets the picture."""
    web.answer = lambda _: Response(make.png())
    xml = apprise.Apprise.instantiate(web.url.replace("http://", "xml://"))
    assert isinstance(xml, NotifyBase)
    monkeypatch.setattr(type(xml), "attachment_support", False)
    hosts = [web.url.replace("http", scheme, 1) + "/in" for scheme in ("xml", "json")]
    await notify(
        f"see {web.url}/1.png",
        to=hosts,
        attach=[f"{web.url}/1.png", f"{web.url}/2.png"],
        chain=make.chain(web.url),
    )
    bodies = [body for method, _, _, body in web.asked if method == "POST"]
    (as_xml,) = [body.decode() for body in bodies if body.startswith(b"<")]
    (as_json,) = [json.loads(body) for body in bodies if body.startswith(b"{")]
    assert (as_xml.count("/1.png"), as_xml.count("/2.png")) == (1, 1)
    assert (len(as_json["attachments"]), as_json["message"]) == (2, f"see {web.url}/1.png")


async def test_attachments_need_a_chain(web: Any) -> None:
    """It knows which private links may be loaded."""
    with pytest.raises(GiveUp, match="needs chain=chain"):
        await notify("x", to="json://127.0.0.1", attach=["https://x/y.png"])


@pytest.mark.parametrize(
    ("attach", "expected"),
    [
        ("true", ("https://cdn.example.com/upscale.png",)),
        ("false", ()),
        (
            '["{{ task.image_url }}", "{{ task.fail_reason }}", "https://x/y.png"]',
            ("https://cdn.example.com/upscale.png", "https://x/y.png"),
        ),
    ],
)
def test_a_rule_attaches(hookchain: Hookchain, attach: str, expected: tuple[str, ...]) -> None:
    """The task's picture, or addresses that are filled in; an empty one is left out."""
    hookchain.load_rules(RULE.format(on="task.succeeded", attach=attach))
    (message,) = hookchain.succeed(upscale()).told
    assert (message.text, message.attached) == ("done", expected)


def test_a_join_attaches_what_succeeded(hookchain: Hookchain) -> None:
    """One message with the four pictures; of a failure there is none."""
    hookchain.load_rules(RULE.format(on="children.done", attach="true"))
    hookchain.load_rules('[[rules]]\nname = "p"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U*"\n')
    asks = hookchain.succeed(grid()).asks
    sent = []
    for number, ask in enumerate(asks[:3]):
        sent += hookchain.succeed(upscale(f"u{number}", imageUrl=f"https://x/{number}.png"), of=ask).told
    sent += [*hookchain.fail(upscale("u3"), "banned", of=asks[3]).told, *hookchain.wait(120).told]
    assert [message.attached for message in sent] == [tuple(f"https://x/{number}.png" for number in range(3))]


@pytest.mark.parametrize(
    ("attach", "message"),
    [
        ('[""]', "an address in attach is empty"),
        ('["picture.png"]', "'picture.png' in attach is not an address"),
        ('"x"', r"'x' is not an allowed value\. Allowed: true, false, quarters, a list"),
        ('["{{ tsak.image_url }}"]', "unknown name 'tsak'"),
        ('["{{ chain.tasks }}"]', r"does not have chain\.tasks"),
    ],
)
def test_a_wrong_attachment_is_a_mistake(hookchain: Hookchain, attach: str, message: str) -> None:
    """When the file is read."""
    with pytest.raises(RuleError, match=message):
        hookchain.load_rules(RULE.format(on="task.succeeded", attach=attach))
