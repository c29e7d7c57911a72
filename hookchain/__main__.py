"""The command `hookchain`, and `python -m hookchain`."""

from __future__ import annotations

import sys

from hookchain.namesakes import OWN_ENVIRONMENT, check, explained

_AS_COMMAND = "run the command `hookchain`, or `python -P -m hookchain`: `python -m` without -P looks into the current folder first"


def main() -> None:
    """Run the command line. Where somebody else's packages hide ours, say so instead."""
    try:
        check(_AS_COMMAND if __name__ == "__main__" else OWN_ENVIRONMENT)
        from hookchain.cli import main as run  # only now: it needs the packages that were checked

        run()
    except ImportError as error:
        if not (told := explained(error)):
            raise
        print(f"hookchain: {told}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
