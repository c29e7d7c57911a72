"""Images of rules: what a callback brings is never a file, and a file of a rule is one that its owner meant."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import connect
from midjourney.files import read_file
from midjourney.image_data import BadImage

PNG_BYTES = b"\x89PNG\r\n\x1a\n rest"
PNG = "data:image/png;base64,iVBORw0KGgogcmVzdA=="

FILLED_IN = [
    "imagine = { prompt = 'again', images = ['{{ task.image_url }}'] }",
    "blend = ['{{ task.image_url }}', '{{ task.image_url }}']",
    "describe = '{{ task.image_url }}'",
    "describe = '{% if true %}{{ task.image_url }}{% endif %}'",
]
LITERAL = [
    "imagine = { prompt = 'again', images = ['FILE'] }",
    "blend = ['FILE', 'FILE']",
    "describe = 'FILE'",
    "press = 'U1'\nmodal = { mask = 'FILE' }",
]


def rules(does: str, directory: Path | None, *image_folders: Path) -> list[CompiledRule]:
    text = f"[[rules]]\nname = 'r'\non = 'task.succeeded'\nlimit = 1\n{does}"
    return load_rules(
        tomllib.loads(text)["rules"], file="r", text=text, directory=directory, image_folders=image_folders
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """What a stranger may name: a picture, one by a link, a FIFO that nobody writes to, a device, a folder."""
    (tmp_path / "own.png").write_bytes(PNG_BYTES)
    (tmp_path / "link.png").symlink_to(tmp_path / "own.png")
    os.mkfifo(tmp_path / "fifo.png")
    named = {name: str(tmp_path / f"{name}.png") for name in ("own", "link", "fifo")}
    return named | {"device": "/dev/zero", "folder": str(tmp_path), "relative": "own.png", "base64": PNG[22:]}


@pytest.mark.parametrize("does", FILLED_IN)
async def test_what_is_filled_in_is_never_a_file(
    bench: Any, files: dict[str, str], tmp_path: Path, does: str
) -> None:
    """Each is a dead letter at once, unpaid, with the cure; deliveries go on, and an address that follows is sent."""
    for rule in rules(does, tmp_path):
        connect(rule)
    await bench.start()
    for name, path in files.items():
        await bench.callback(name, imageUrl=path)

    async def ask() -> Any:
        found = [one for one in await bench.deliveries() if one.state == "dead"]
        return found if len(found) == len(files) else None

    for letter in await bench.until(ask):
        assert "is neither an http(s) URL nor a data: URL" in letter.error
        assert "a file must be named in the rule itself" in letter.error
    assert bench.upstream.received == []
    await bench.callback("good", imageUrl=PNG)
    await bench.until_states("accepted")


@pytest.mark.parametrize("does", LITERAL)
def test_a_file_of_a_rule_is_regular_and_below_its_folder(tmp_path: Path, does: str) -> None:
    """Not by dots, by a link, or by its whole path; unless its folder is allowed by name."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "sub").mkdir(parents=True)
    outside.mkdir()
    for picture in (home / "own.png", home / "sub" / "own.png", outside / "own.png"):
        picture.write_bytes(PNG_BYTES)
    (home / "out.png").symlink_to(outside / "own.png")
    (home / "in.png").symlink_to(home / "sub" / "own.png")
    (home / "away").symlink_to(outside)
    os.mkfifo(home / "fifo.png")
    inside = ("own.png", "sub/own.png", "in.png", str(home / "own.png"))
    elsewhere = ("../outside/own.png", "out.png", "away/own.png", str(outside / "own.png"))
    for name in inside:
        assert rules(does.replace("FILE", name), home)
    for name in elsewhere:
        with pytest.raises(RuleError, match=r"is not below .*image_folders"):
            rules(does.replace("FILE", name), home)
        assert rules(does.replace("FILE", name), home, outside)
    for name in ("fifo.png", "sub", "none.png", "../home"):
        with pytest.raises(
            RuleError, match=r"does not exist beside the rules|not a regular file|neither a PNG"
        ):
            rules(does.replace("FILE", name), home)
    with pytest.raises(RuleError, match="cannot be used here"):
        rules(does.replace("FILE", "own.png"), None)


async def test_a_file_of_a_rule_is_sent_as_data(bench: Any, tmp_path: Path) -> None:
    """It is read when the rule fires. What has become of it by then is looked at again."""
    (tmp_path / "own.png").write_bytes(PNG_BYTES)
    for rule in rules("describe = 'own.png'", tmp_path):
        connect(rule)
    await bench.start()
    await bench.callback("first")
    await bench.until_states("accepted")
    assert [body["base64"] for _, body in bench.upstream.received] == [PNG]


@pytest.mark.parametrize("name", ["fifo", "device", "folder"])
def test_only_a_regular_file_is_read(files: dict[str, str], name: str) -> None:
    """Nothing is waited for; the message says what is wrong."""
    with pytest.raises(BadImage, match="not a regular file"):
        read_file(Path(files[name]))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Nor one without end."""
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BadImage, match="at most 10485760"):
        read_file(tmp_path / "large.png")
