"""Drives a client written in Python, unchanged. It runs in the client's own environment, and knows nothing of ours.

Arguments: "plugin" or "node", and the folder of the client. Commands come as lines of JSON on stdin, `{"call": …, "with": […]}`;
what a call returns, or the error that it raises, goes to stdout as a line after "» ".
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import types
from collections.abc import Callable
from typing import Any

PREFIXES = ("imagine", "fetch", "up", "pad", "blend", "describe", "queue", "end", "reroll")


def plugin() -> Any:
    """The chat plugin's API, with a log in the place of that of its host, and the settings of its page."""
    log = types.ModuleType("common.log")
    log.logger = logging.getLogger("chat")  # type: ignore[attr-defined]  # a module is made here
    sys.modules["common"] = types.ModuleType("common")
    sys.modules["common.log"] = log
    settings: dict[str, object] = {f"{prefix}_prefix": [f"/{prefix}"] for prefix in PREFIXES}
    settings |= {"mj_url": "", "mj_api_secret": "", "discordapp_proxy": ""}
    return importlib.import_module("mjapi")._mjApi(settings)


def node() -> Any:
    """The ComfyUI node's API, which reads its address from the file beside it."""
    return importlib.import_module("api_client").MidjourneyAPIClient()


def answered(call: Callable[..., Any], arguments: list[Any]) -> dict[str, object]:
    try:
        told = call(*arguments)
    except Exception as error:  # what a client raises is what a test is about
        return {"answer": None, "error": f"{type(error).__name__}: {error}"}
    if isinstance(told, tuple) and hasattr(told[0], "shape"):
        told = [list(told[0].shape), *told[1:]]  # a picture
    return {"answer": told, "error": None}


def main(kind: str, folder: str) -> None:
    sys.path.insert(0, folder)
    api = {"plugin": plugin, "node": node}[kind]()
    for line in sys.stdin:
        command = json.loads(line)
        answer = answered(getattr(api, command["call"]), command["with"])
        sys.stdout.write(f"» {json.dumps(answer)}\n")
        sys.stdout.flush()


main(*sys.argv[1:])
