"""The command line called in this process: starting one takes longer than most commands do.

What a command is like as a process of its own, tests/hookchain/test_cli.py and the tutorial show.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import structlog

from hookchain.cli import main


def _configure_for_now(**options: Any) -> None:
    """`serve` sets up the log: a logger that it caches would write to this command's output in later tests too."""
    _configure(**options | {"cache_logger_on_first_use": False})


_configure = structlog.configure


def run(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Its exit code, and what it wrote; its environment is what is given, and nothing else."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    logs, handlers = structlog.get_config(), logging.root.handlers[:]
    gc.freeze()  # what was there before is not searched at the end: that takes longer than the command
    with (
        warnings.catch_warnings(
            action="ignore", category=ResourceWarning
        ),  # the end of a process closes all it has
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["hookchain", *arguments]),
        mock.patch.object(structlog, "configure", _configure_for_now),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        gc.collect()
    structlog.configure(**logs)
    logging.root.handlers[:] = handlers
    gc.unfreeze()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())
