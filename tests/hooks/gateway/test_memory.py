"""A large body takes no memory, from the client to the upstream."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE_S, REPOSITORY
from tests.hooks.gateway.blend import body, images

IMAGE_BYTES = 8 * 1024 * 1024
MOST_BYTES = 5 * 1024 * 1024


@pytest.mark.process
def test_a_blend_of_40_mb_takes_less_than_5_mb_of_memory(database_url: str, tmp_path: Path) -> None:
    """Received, stored and sent: all of it arrives, and the process has grown by less than an eighth of it."""
    found = _ran(database_url, tmp_path, "json")
    sent = hashlib.sha256(b'{"base64Array":[')
    for piece in list(body(IMAGE_BYTES))[1:-1]:
        sent.update(piece)
    _check(found, sent)


@pytest.mark.process
def test_a_form_of_40_mb_takes_less_than_5_mb_of_memory(database_url: str, tmp_path: Path) -> None:
    """Its files are encoded as they arrive, and the upstream gets them as JSON."""
    found = _ran(database_url, tmp_path, "form")
    urls = (b'"data:image/png;base64,' + base64.b64encode(image) + b'"' for image in images(IMAGE_BYTES))
    _check(found, hashlib.sha256(b'{"base64Array":[' + b",".join(urls)))


def _ran(database_url: str, tmp_path: Path, written_as: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hooks.gateway.blend", database_url, str(IMAGE_BYTES), written_as],
        cwd=REPOSITORY,
        env={"TMPDIR": str(tmp_path), "PATH": ""},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def _check(found: dict[str, Any], sent: hashlib._Hash) -> None:
    sent.update(b'],"botType":"MID_JOURNEY","state":"mark"}')
    assert found["size"] > 5 * IMAGE_BYTES
    assert found["digest"] == sent.hexdigest()
    assert found["peak"] < MOST_BYTES
    assert found["grown"] < MOST_BYTES
