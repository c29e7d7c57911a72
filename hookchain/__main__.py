"""Entry point of the command `hookchain` and of `python -m hookchain`."""

from __future__ import annotations

import sys

from hookchain.namesakes import OWN_ENVIRONMENT, check, explanation_of

_AS_COMMAND = "run the command `hookchain`, or `python -P -m hookchain`: `python -m` without -P looks into the current folder first"


def main() -> None:
    """Run the command line, or report that another project's package hides one of ours."""
    try:
        check(_AS_COMMAND if __name__ == "__main__" else OWN_ENVIRONMENT)
        # httpx imports its own command line if it can, with click, rich and pygments: a quarter of our start-up time.
        # None makes the import fail.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
        _load_structlog_without_rich()
        # Imported here because it needs the packages that `check` has just verified.
        from hookchain.cli import main as run

        run()
    except ImportError as error:
        if not (message := explanation_of(error)):
            raise
        print(f"hookchain: {message}", file=sys.stderr)
        sys.exit(2)


def _load_structlog_without_rich() -> None:
    """structlog loads rich if it can, for tracebacks that we do not print: that takes 4 MB of a server's memory."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


if __name__ == "__main__":
    main()
