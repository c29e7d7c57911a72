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
        # Imported here because it needs the packages that `check` has just verified.
        from hookchain.cli import main as run

        run()
    except ImportError as error:
        if not (message := explanation_of(error)):
            raise
        print(f"hookchain: {message}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
