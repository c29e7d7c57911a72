"""The ComfyUI node (leoleelxh/ComfyUI-MidjourneyNode-leoleexh): it has no field for a key, and raises at a status that it does not know."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clients.driven import Driven

pytestmark = pytest.mark.process

CLIENT = "comfy"


@pytest.fixture
def node(folder: Path, drive: Any, tmp_path: Path) -> Any:
    """The node's API beside a setting.yaml of its user's."""

    def start(url: str) -> Driven:
        here = tmp_path / "node"
        here.mkdir()
        shutil.copy(folder / "api_client.py", here)
        (here / "setting.yaml").write_text(f'API_URL:\n  api_url: "{url}"\n')
        started: Driven = drive(folder, "python_client.py", "node", str(here))
        return started

    return start


def called(node: Driven, name: str, *arguments: Any) -> Any:
    told = node.do(call=name, **{"with": list(arguments)})
    assert told["error"] is None, told
    return told["answer"]


@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk", "new-api"])
def test_a_picture_and_an_upscale_of_it(node: Any, start_place: Any, dialect: str) -> None:
    """The key is in the address. The node decodes both pictures, and was shown no status that it does not know."""
    place = start_place(dialect=dialect, speed="4")
    comfy = node(place.url_with_key)
    grid = called(comfy, "start_generation", "a cat")
    assert grid["code"] == 1
    shape, ticket = called(comfy, "wait_for_generation", grid["result"])
    assert shape[0] > 0
    assert ticket == grid["result"]
    for action in ("U1", "V2"):
        more = called(comfy, "upscale_or_vary", ticket, action)
        assert more["code"] == 1
        called(comfy, "wait_for_generation", more["result"])
    assert sum(place.billed().values()) == 3


def test_pictures_may_come_through_us(node: Any, start_place: Any) -> None:
    """`pictures = "proxy"`: the node gets them without a key."""
    place = start_place(more='pictures = "proxy"')
    comfy = node(place.url_with_key)
    grid = called(comfy, "start_generation", {"prompt": "a cat", "base64Array": []})
    shape, _ = called(comfy, "wait_for_generation", grid["result"])
    assert shape[0] > 0


def test_without_a_key_it_is_refused(node: Any, start_place: Any) -> None:
    place = start_place()
    told = node(place.url).do(call="start_generation", **{"with": ["a cat"]})
    assert told["error"].startswith("HTTPError: 401 ")
    assert place.billed() == {}
