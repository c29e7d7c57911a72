"""Videos are kept in pieces, under the type that their bytes show, beside the picture."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.responses import Response, StreamingResponse

from dispatcher.effects import videos
from dispatcher.effects.archive import archive
from dispatcher.plugins.errors import GiveUp
from hookchain.testing import Hookchain, upscale
from midjourney import video_loading
from midjourney.image_data import BadImage
from midjourney.video_links import video_links
from storage.tasks.believe import TaskReport

MP4 = b"\x00\x00\x00\x18ftypmp42" + b"v" * 3_000_000
WEBM = b"\x1aE\xdf\xa3" + b"w" * 100


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"videoUrl": "https://x/a"}, ("https://x/a",)),
        (
            {"videoUrls": [{"url": "https://x/a"}, {"url": "https://x/b", "thumbnail": "https://x/c"}]},
            ("https://x/a", "https://x/b"),
        ),
        ({"videoUrls": ["https://x/a"], "videoUrl": "https://x/a"}, ("https://x/a",)),
        ({"video_urls": '["https://x/a"]'}, ("https://x/a",)),
        ({"videoUrls": None, "videoUrl": ""}, ()),
        ({"videoUrls": [None, 1, {"url": None}, "no link", "file:///etc/passwd"]}, ()),
        ({"videoUrls": "[broken"}, ()),
        ({"videoUrls": [{"url": "https://x/g.png"}]}, ()),
        ({"videoUrls": [f"https://x/{n}" for n in range(50)]}, tuple(f"https://x/{n}" for n in range(8))),
    ],
)
def test_the_videos_of_a_task(make: Any, fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    """However the vendor writes them; its picture is none of them."""
    assert video_links(make.task("https://x/g.png", **fields)) == expected
    assert video_links(make.task("https://x/g.MP4?ex=1", videoUrls=[])) == ("https://x/g.MP4?ex=1",)


async def test_picture_and_videos_are_kept(web: Any, make: Any, tmp_path: Path) -> None:
    """Four of one press, numbered; the JSON file has them all, without signatures. Twice gives the same files, and nothing else."""
    bodies = {"/g.png": make.png(), "/1": MP4, "/2": WEBM, "/3": b"GIF89a", "/4": MP4 + b"4"}
    web.answer = lambda request: Response(bodies[request.url.path], media_type="text/plain")
    links = [{"url": f"{web.url}/{n}?ex={make.in_seconds(3600)}&hm=secret&"} for n in (1, 2, 3, 4)]
    for _ in range(2):
        kept = await archive(
            make.task(f"{web.url}/g.png", videoUrls=links),
            chain=make.chain(web.url),
            to=str(tmp_path),
            path=("v", "a cat"),
        )
    names = [f"v/a cat.main.17-video-{n}.{kind}" for n, kind in enumerate(("mp4", "webm", "gif", "mp4"), 1)]
    assert kept.videos == tuple(names)
    assert (tmp_path / names[0]).read_bytes() == MP4
    about = json.loads((tmp_path / kept.sidecar).read_text())
    assert [one["sha256"] for one in about["videos"]][:2] == [
        hashlib.sha256(one).hexdigest() for one in (MP4, WEBM)
    ]
    assert (about["videos"][0]["source"], about["file"]) == (f"{web.url}/1", "a cat.main.17.png")
    assert "secret" not in json.dumps(about)
    assert sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.*")) == sorted(
        [*names, kept.name, kept.sidecar]
    )
    assert web.asked[1][1] == f"/1?{links[0]['url'].partition('?')[2]}"


async def test_a_picture_that_is_a_video_is_kept_as_one(web: Any, make: Any, tmp_path: Path) -> None:
    """Some vendors have no other field for it. Without a number, as there is one."""
    web.answer = lambda _: Response(MP4)
    kept = await archive(make.task(f"{web.url}/g.mp4"), chain=make.chain(web.url), to=str(tmp_path))
    assert (kept.name, kept.media_type, kept.size_bytes) == ("main/c1/17.mp4", "video/mp4", len(MP4))


async def test_what_is_no_video_or_too_large_is_left_out(
    web: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is kept, and the decision says why. Nothing of it stays on the disk."""
    monkeypatch.setattr(
        videos,
        "fetch_video",
        lambda *given, **named: video_loading.fetch_video(*given, largest=1000, **named),
    )
    bodies = {"/g.png": make.png(), "/1": MP4, "/2": b"<html>", "/3": WEBM}
    web.answer = lambda request: Response(bodies[request.url.path])
    chain = make.chain(web.url)
    task = make.task(f"{web.url}/g.png", videoUrls=[f"{web.url}/{n}" for n in (1, 2, 3)])
    kept = await archive(task, chain=chain, to=str(tmp_path))
    assert kept.videos == ("main/c1/17-video-3.webm",)
    assert "it has more than 1000 bytes" in chain.notes
    assert "is not an MP4" in chain.notes
    assert not list(tmp_path.rglob("*.part"))
    with pytest.raises(GiveUp, match="none of the videos"):
        await archive(make.task("", videoUrls=[f"{web.url}/2"]), chain=chain, to=str(tmp_path))


@pytest.mark.parametrize("expires_in_s", [30, 3600])
async def test_an_expired_video_is_asked_for_anew(
    web: Any, make: Any, tmp_path: Path, expires_in_s: int
) -> None:
    """Before its address ends, or when it answers 404; if the upstream knows no other, that is an error, and the delivery is tried again."""
    web.answer = lambda request: Response(WEBM) if request.url.path == "/new" else Response(status_code=404)
    task = make.task("", videoUrl=f"{web.url}/old?ex={make.in_seconds(expires_in_s)}")
    fresh = make.task("", videoUrl=f"{web.url}/new")
    chain = make.chain(web.url)
    with pytest.raises(BadImage, match="answered HTTP 404"):
        await archive(task, chain=chain, to=str(tmp_path))

    async def read_back(task_id: str) -> TaskReport:
        return TaskReport(upstream="main", task_id=task_id, task=fresh, asked_at_ms=0)

    web.asked.clear()
    chain._handle = msgspec.structs.replace(chain._handle, read_back=read_back)
    await archive(task, chain=chain, to=str(tmp_path))
    assert [target.partition("?")[0] for _, target, _, _ in web.asked] == (
        ["/new"] if expires_in_s == 30 else ["/old", "/new"]
    )


async def test_a_private_video_is_not_fetched(web: Any, make: Any, tmp_path: Path) -> None:
    """By the rules for pictures."""
    with pytest.raises(BadImage, match="in a private network"):
        await archive(
            make.task("", videoUrl=f"{web.url}/v"),
            chain=make.chain("https://x.example.com"),
            to=str(tmp_path),
        )
    assert web.asked == []


async def test_a_large_video_takes_little_memory(web: Any, make: Any, tmp_path: Path) -> None:
    """100 MB pass through in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        yield MP4[:12]
        for _ in range(100):
            yield b"v" * 1_000_000

    web.answer = lambda _: StreamingResponse(pieces())
    tracemalloc.start()
    try:
        kept = await archive(
            make.task("", videoUrl=f"{web.url}/v"), chain=make.chain(web.url), to=str(tmp_path)
        )
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept.size_bytes == 100_000_012
    assert peak_bytes < 30_000_000


async def test_s3_gets_videos_in_parts(web: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one as a multipart upload, whose parts appear together."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": web.url,
    }.items():
        monkeypatch.setenv(name, value)
    video = MP4 + b"v" * 12_000_000

    def answer(request: Any) -> Response:
        if request.url.path == "/v":
            return Response(video)
        if request.method == "POST" and "uploads" in request.url.query:
            return Response(
                "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
            )
        if request.method == "POST":
            return Response("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        return Response(headers={"etag": '"1"'})

    web.answer = answer
    await archive(make.task("", videoUrl=f"{web.url}/v"), chain=make.chain(web.url), to="s3://bucket/v")
    parts = {
        target: body for method, target, _, body in web.asked if method == "PUT" and "partNumber" in target
    }
    assert len(parts) > 1
    assert sum(map(len, parts.values())) == len(video)


def test_the_kit_records_videos(hookchain: Hookchain) -> None:
    """Without loading anything."""
    hookchain.load_rules('[[rules]]\nname = "r"\non = "task.succeeded"\narchive = "p/{{ prompt | slug }}"\n')
    asked = hookchain.succeed(
        upscale(videoUrls=[{"url": "https://cdn.example.com/1"}, {"url": "https://cdn.example.com/2"}])
    )
    names = [one.name for one in asked.archived]
    assert names == [f"a-cat.main.upscale{end}" for end in (".png", "-video-1.mp4", "-video-2.mp4", ".json")]
