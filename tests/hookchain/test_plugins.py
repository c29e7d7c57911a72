"""The built-in plugins do what the first two rules do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
OPEN_ZOOM = """
[[rules]]
name = "upscale-first"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U1"

[[rules]]
name = "open-custom-zoom"
on = "task.succeeded"
if = "chain.depth == 1"
press = "custom_zoom"
"""


def test_upscale_all(start_sandbox: Any, start_server: Any, eventually: Any) -> None:
    """Four upscales, each pressed once."""
    sandbox = start_sandbox("--speed", "30")
    server = start_server(
        HOOKCHAIN_UPSTREAM_URL=sandbox.url, HOOKCHAIN_PLUGINS="hookchain.plugins.upscale_all"
    )
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 5)
    assert len(sandbox.accepted("/action")) == 4


def test_answer_modal(start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path) -> None:
    """As a copy in plugins/: built-ins use the public door only."""
    (tmp_path / "plugins").mkdir()
    source = ROOT / "hookchain" / "plugins" / "answer_modal.py"
    (tmp_path / "plugins" / "mine.py").write_text(source.read_text())
    sandbox = start_sandbox("--speed", "30")
    server = start_server(toml=OPEN_ZOOM, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 3)
    (modal,) = sandbox.accepted("/modal")
    assert modal["prompt"] == "a cat --zoom 1.8"
