"""Pictures are kept whole, once, under names that lead nowhere else, before and after their address has expired."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from starlette.responses import Response

from dispatcher.effects.archive import archive
from dispatcher.effects.expiring_links import expires_at_ms
from dispatcher.effects.split_grid import split_grid
from dispatcher.effects.store import StoreError, file_name, store_at
from dispatcher.pictures.decoding import quarters
from dispatcher.plugins.errors import GiveUp
from midjourney.image_data import BadImage


@pytest.mark.parametrize(
    ("address", "expires"),
    [
        ("https://cdn.discordapp.com/a/b.png?ex=65a6d53f&is=6594603f&hm=ab&", 0x65A6D53F * 1000),
        ("https://x/y.png?is=1&ex=1", 1000),
        ("https://x/y.png", None),
        ("https://x/y.png?ex=nonsense", None),
        ("https://x/y.png?index=5", None),
    ],
)
def test_an_address_tells_when_it_ends(address: str, expires: int | None) -> None:
    """`ex`, in hexadecimal seconds."""
    assert expires_at_ms(address) == expires


@pytest.mark.parametrize("part", ["../../etc/passwd", "a/b", "..", "", "C:\\x", "\x00", "ü" * 300, ".hidden"])
def test_no_name_leads_out_of_its_place(part: str) -> None:
    """Task ids and upstream names come from outside."""
    name = file_name("main", part, "17")
    assert name.split("/")[0] == "main"
    assert len(name.split("/")) == 3
    assert ".." not in name.split("/")
    assert "\\" not in name
    assert all(0 < len(one) <= 100 for one in name.split("/"))


def test_two_ids_never_share_a_name() -> None:
    """The picture of one would be replaced by that of the other, for good."""
    ids = [
        "a/b",
        "a_b",
        "a\\b",
        "a?b",
        ".",
        "..",
        "",
        "none",
        "x" * 100 + "1",
        "x" * 100 + "2",
        ".a",
        "a",
        "a.",
    ]
    assert len({file_name("main", "c1", one) for one in ids}) == len(ids)
    assert file_name("main", "c1", "1712345678901234") == "main/c1/1712345678901234"


async def test_a_picture_is_kept_with_what_is_known_of_it(web: Any, make: Any, tmp_path: Path) -> None:
    """The address goes out byte for byte; its signature is not kept. Twice gives the same files."""
    picture = make.png()
    web.answer = lambda _: Response(picture, media_type="application/octet-stream")
    query = f"ex={make.in_seconds(3600)}&is=1&hm=a%2Fb&"
    task, seen = make.task(f"{web.url}/a/grid.png?{query}"), []
    for _ in range(2):
        kept = await archive(
            task, chain=make.chain(web.url), to=str(tmp_path / "kept"), progress=lambda *at: seen.append(at)
        )
    assert kept.name == "main/c1/17.png"
    assert (tmp_path / "kept" / kept.name).read_bytes() == picture
    about = json.loads((tmp_path / "kept" / kept.sidecar).read_text())
    assert about["sha256"] == hashlib.sha256(picture).hexdigest() == kept.sha256
    assert (about["prompt"], about["file"], about["source"]) == ("a cat", "17.png", f"{web.url}/a/grid.png")
    assert "secret" not in json.dumps(about)
    assert [target for _, target, _, _ in web.asked] == [f"/a/grid.png?{query}"] * 2
    assert seen[-1] == (len(picture), len(picture))
    assert sorted(one.name for one in (tmp_path / "kept").rglob("*.*")) == ["17.json", "17.png"]


async def test_an_address_that_ends_soon_is_asked_for_anew_first(web: Any, make: Any, tmp_path: Path) -> None:
    """Nothing is asked at the old one."""
    web.answer = lambda _: Response(make.png())
    task = make.task(f"{web.url}/old.png?ex={make.in_seconds(30)}")
    await archive(task, chain=make.chain(web.url, fresh=f"{web.url}/new.png"), to=str(tmp_path))
    assert [target for _, target, _, _ in web.asked] == ["/new.png"]


async def test_an_address_that_is_gone_is_asked_for_anew(web: Any, make: Any, tmp_path: Path) -> None:
    """It had no end in it, and answers 404; where the upstream knows no other, that is said."""
    web.answer = lambda request: (
        Response(status_code=404) if "old" in request.url.path else Response(make.png())
    )
    task = make.task(f"{web.url}/old.png")
    await archive(task, chain=make.chain(web.url, fresh=f"{web.url}/new.png"), to=str(tmp_path))
    with pytest.raises(BadImage, match="answered HTTP 404"):
        await archive(task, chain=make.chain(web.url), to=str(tmp_path))


async def test_addresses_inside_a_network_are_refused(web: Any, make: Any, tmp_path: Path) -> None:
    """But for the upstream's own; a redirect of a public one counts too."""
    task = make.task(f"{web.url}/grid.png")
    with pytest.raises(BadImage, match="in a private network"):
        await archive(task, chain=make.chain("https://api.example.com"), to=str(tmp_path))
    assert web.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"<html>not found</html>", b"GIF7", b"MZ\x90"])
async def test_what_is_no_picture_is_not_kept(web: Any, make: Any, tmp_path: Path, body: bytes) -> None:
    """Whatever its header says: the bytes decide."""
    web.answer = lambda _: Response(body, media_type="image/png")
    with pytest.raises(BadImage):
        await archive(make.task(f"{web.url}/x.png"), chain=make.chain(web.url), to=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_a_task_without_a_picture_is_given_up(make: Any, tmp_path: Path) -> None:
    """Describe has none, nor has a failure."""
    with pytest.raises(GiveUp, match="has no picture"):
        await archive(make.task(""), chain=make.chain("http://x"), to=str(tmp_path))


async def test_s3_gets_the_same_files(web: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed PUTs to bucket and prefix, at the endpoint of the environment."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": web.url,
    }.items():
        monkeypatch.setenv(name, value)
    picture = make.png()
    web.answer = lambda request: (
        Response(headers={"etag": '"1"'}) if request.method == "PUT" else Response(picture)
    )
    await archive(make.task(f"{web.url}/g.png"), chain=make.chain(web.url), to="s3://bucket/pictures")
    puts = {target: body for method, target, _, body in web.asked if method == "PUT"}
    assert sorted(puts) == ["/bucket/pictures/main/c1/17.json", "/bucket/pictures/main/c1/17.png"]
    assert puts["/bucket/pictures/main/c1/17.png"] == picture
    assert all(
        "AWS4-HMAC" in headers["authorization"] for method, _, headers, _ in web.asked if method == "PUT"
    )


@pytest.mark.parametrize(
    "to", ["gopher://x", "s3://", "s3://[", "file://server/share", "/dev/null/x", "a\0b"]
)
def test_a_place_that_cannot_be_is_said(to: str) -> None:
    """With what to write."""
    with pytest.raises(GiveUp, match="write a folder, or s3://bucket/prefix"):
        store_at(to)


async def test_a_folder_has_an_address_too(tmp_path: Path) -> None:
    """With what addresses escape; it is made where it is missing."""
    await store_at((tmp_path / "my pictures").as_uri()).put("main/c1/17.png", b"data")
    assert (tmp_path / "my pictures/main/c1/17.png").read_bytes() == b"data"


async def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Many that keep one file at once: whoever looks sees one of them, all of it, and nothing is left beside it."""
    store, file = store_at(str(tmp_path)), tmp_path / "main/c1/17.png"
    versions = [bytes([number]) * 200_000 for number in range(8)]
    await store.put("main/c1/17.png", versions[0])
    keeping = asyncio.gather(*(store.put("main/c1/17.png", version) for version in versions * 4))
    while not keeping.done():
        assert file.read_bytes() in versions
        await asyncio.sleep(0)
    await keeping
    assert [one.name for one in file.parent.iterdir()] == ["17.png"]
    usual = tmp_path / "usual"
    usual.touch()
    assert file.stat().st_mode == usual.stat().st_mode  # a web server may read it


async def test_a_file_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    """It may be kept later: the delivery is tried again."""
    (tmp_path / "main/c1/17.png").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"17\.png could not be stored"):
        await store_at(str(tmp_path)).put("main/c1/17.png", b"data")
    assert [one.name for one in tmp_path.rglob("*")] == ["main", "c1", "17.png"]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 33), (2, 2), (1024, 768)])
def test_a_grid_is_cut_without_losing_a_pixel(width: int, height: int) -> None:
    """Odd middles go right and down; put together again it is the same picture."""
    grid = Pillow.effect_noise((width, height), 90).convert("RGB")
    file = io.BytesIO()
    grid.save(file, "PNG")
    pieces = [Pillow.open(io.BytesIO(one)) for one in quarters(file.getvalue())]
    again = Pillow.new("RGB", (width, height))
    across, down = width // 2, height // 2
    for quarter, corner in zip(pieces, [(0, 0), (across, 0), (0, down), (across, down)], strict=True):
        again.paste(quarter, corner)
    assert again.tobytes() == grid.tobytes()


@pytest.mark.process
async def test_a_grid_becomes_four_pictures(web: Any, make: Any, tmp_path: Path) -> None:
    """Named and numbered as the buttons are; what is no grid is given up."""
    web.answer = lambda _: Response(make.png(100, 100))
    names = await split_grid(make.task(f"{web.url}/g.png"), chain=make.chain(web.url), to=str(tmp_path))
    assert names == [f"main/c1/17-{number}.png" for number in (1, 2, 3, 4)]
    assert {size_of(tmp_path / name) for name in names} == {(50, 50)}
    assert json.loads((tmp_path / "main/c1/17-3.json").read_text())["image_number"] == 3
    with pytest.raises(GiveUp, match="is not a grid"):
        await split_grid(make.task("http://x", buttons=[]), chain=make.chain("http://x"), to=str(tmp_path))


def size_of(file: Path) -> tuple[int, int]:
    with Pillow.open(file) as opened:
        return opened.size


@pytest.mark.process
@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\nrubbish"])
async def test_a_grid_that_cannot_be_decoded_is_given_up(
    web: Any, make: Any, tmp_path: Path, data: bytes
) -> None:
    """Cut in the middle, or made to harm: it is loaded once, and nothing is kept of it."""
    web.answer = lambda _: Response(data.ljust(12, b"x"))
    with pytest.raises(GiveUp, match="the grid of task 17 cannot be cut: the picture cannot be read"):
        await split_grid(make.task(f"{web.url}/g.png"), chain=make.chain(web.url), to=str(tmp_path))
    assert len(web.asked) == 1
    assert list(tmp_path.iterdir()) == []
