"""hooks/http leans on what uvicorn keeps inside: another minor version may keep something else."""

from __future__ import annotations

from importlib.metadata import version

from hooks.http.protocol import VERIFIED_WITH

WHAT_TO_DO = f"""
hooks/http/protocol.py was verified with uvicorn {VERIFIED_WITH}. For another minor version:
1. Read what changed in uvicorn/protocols/http/httptools_impl.py and h11_impl.py, above all in `data_received`, `on_message_begin`,
   `on_headers_complete`, `on_response_complete`, `eof_received`, and in `RequestResponseCycle` (`scope`, `body`, `more_body`,
   `response_started`, `response_complete`, `disconnected`, and all of `receive` and `send`, which hooks/http/shortcuts.py does in
   short) and `FlowControl`.
2. Run the tests that compare and attack: pytest tests/hooks/test_http.py tests/hooks/http tests/promises/test_front.py
   tests/promises/test_elsewhere.py tests/hookchain/test_keep_alive.py, and `make soak ARGS=tests/promises/test_front.py`.
3. Set VERIFIED_WITH, and the range of uvicorn in pyproject.toml; run `make lock`.
"""


def test_uvicorn_is_of_the_minor_version_that_was_verified() -> None:
    """Otherwise: what to do."""
    assert version("uvicorn").startswith(f"{VERIFIED_WITH}."), WHAT_TO_DO
