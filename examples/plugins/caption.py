"""Keep every single picture, and beside it a text file with its caption, as trainers of models want it: 1795.png and 1795.txt.

The caption comes from a service of yours: it gets the picture as a POST, and answers {"caption": "…"}. In hookchain.toml:

    [plugins.caption]
    url = "http://127.0.0.1:5000/caption"
    to = "dataset"

A service that fails or hangs is asked again later; it delays nothing else.

Try it: hookchain imagine "a cat"
"""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec

from hookchain import Chain, Task, archive, plugin_settings, receiver, task_succeeded


class Settings(msgspec.Struct, frozen=True):
    """The table [plugins.caption]."""

    url: str
    to: str = "dataset"


class Answer(msgspec.Struct):
    """What the service answers."""

    caption: str


settings = plugin_settings(Settings)


@task_succeeded.connect_via("UPSCALE")
@receiver(timeout_s=120, concurrency=2)
async def caption(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """It may run twice for one picture; then it writes the same files again."""
    picture = await chain.picture(task.image_url)
    async with httpx.AsyncClient(timeout=60) as service:
        answer = await service.post(
            settings.url, content=picture.data, headers={"content-type": picture.media_type}
        )
    text = msgspec.json.decode(answer.raise_for_status().content, type=Answer).caption
    kept = await archive(task, chain=chain, to=settings.to)
    file = Path(settings.to, kept.name).with_suffix(".txt")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    chain.note(f"kept {kept.name}: {text}")
