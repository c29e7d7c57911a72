"""`hookchain schema`: the JSON Schema of hookchain.toml, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.output import json_text, say, say_json
from hookchain.printable import printable
from hookchain.settings.conversion import SettingsError


def schema(
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it to this file, such as hookchain.schema.json."),
    ] = None,
) -> None:
    """Print a JSON Schema of hookchain.toml.

    Editors complete and check a file whose first line is: #:schema ./hookchain.schema.json
    """
    # Imported here because it loads all models.
    from hookchain.schema import file_schema

    if output is None:
        say_json(file_schema())
        return
    try:
        output.write_text(json_text(file_schema()) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--output {output}: {error.strerror}") from error
    say(f"wrote {printable(str(output))}")
