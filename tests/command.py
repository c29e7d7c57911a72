"""The command line called in this process: starting one takes longer than most commands do.

What a command is like as a process of its own, tests/hookchain/test_cli.py and the tutorial show.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from hookchain.cli import main


def run(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Its exit code, and what it wrote; its environment is what is given, and nothing else."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        warnings.catch_warnings(
            action="ignore", category=ResourceWarning
        ),  # the end of a process closes all it has
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["hookchain", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        gc.collect()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())
