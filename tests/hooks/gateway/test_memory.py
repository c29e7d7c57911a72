"""A large body takes no memory, from the client to the upstream."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_S, REPOSITORY
from tests.hooks.gateway.blend import body

IMAGE_BYTES = 8 * 1024 * 1024
MOST_BYTES = 5 * 1024 * 1024


@pytest.mark.process
def test_a_blend_of_40_mb_takes_less_than_5_mb_of_memory(database_url: str, tmp_path: Path) -> None:
    """Received, stored and sent: all of it arrives, and the process has grown by less than an eighth of it."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hooks.gateway.blend", database_url, str(IMAGE_BYTES)],
        cwd=REPOSITORY,
        env={"TMPDIR": str(tmp_path), "PATH": ""},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    found = json.loads(ran.stdout)
    sent = hashlib.sha256(b'{"base64Array":[')
    for piece in list(body(IMAGE_BYTES))[1:-1]:
        sent.update(piece)
    sent.update(b'],"botType":"MID_JOURNEY","state":"mark"}')
    assert found["size"] > 5 * IMAGE_BYTES
    assert found["digest"] == sent.hexdigest()
    assert found["peak"] < MOST_BYTES
    assert found["grown"] < MOST_BYTES
