"""`hookchain new`: create a working plugin or rule file, with a test, as a starting point."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.output import json_text, say
from hookchain.settings.load import SettingsError

new = typer.Typer(help="Create a working plugin or rule file, with a test.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name in lower case, such as upscale_cats.")]

SCHEMA = "hookchain.schema.json"

PLUGIN = '''"""{title}: presses U1 of every new grid whose prompt has a cat in it."""

from hookchain import Chain, Task, task_succeeded


@task_succeeded.connect_via("IMAGINE")
async def {name}(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Run once for each imagine that succeeds. Its submissions are committed when it returns."""
    if task.is_grid and "cat" in task.prompt:
        await chain.press("U1")
    else:
        chain.note("no cat in it")
'''

PLUGIN_TEST = """from hookchain.testing import grid


def test_{name}_presses_u1_of_cats(hookchain):
    hookchain.load_plugin("plugins/{name}.py")
    assert hookchain.succeed(grid(prompt="a cat")).pressed == ["U1"]
    assert hookchain.succeed(grid("other", prompt="a dog")).pressed == []
"""

RULES = """#:schema ./{schema}
# {title}: presses U1 of every new grid whose prompt has a cat in it.
# Try it on recorded events: hookchain rules try {name}.toml. Use it: HOOKCHAIN_CONFIG={name}.toml hookchain serve

[[rules]]
name = "{name}"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0 and 'cat' in task.prompt"
press = "U1"
"""

RULES_TEST = """from hookchain.testing import grid


def test_{name}_presses_u1_of_cats(hookchain):
    hookchain.load_rules("{name}.toml")
    assert hookchain.succeed(grid(prompt="a cat")).pressed == ["U1"]
    assert hookchain.succeed(grid("other", prompt="a dog")).pressed == []
"""


@new.command("plugin")
def plugin(name: Name) -> None:
    """Create plugins/NAME.py and tests/test_NAME.py. `hookchain serve` loads the plugin."""
    _write(name, {f"plugins/{name}.py": PLUGIN, f"tests/test_{name}.py": PLUGIN_TEST})


@new.command("rules")
def rules(
    name: Annotated[str | None, typer.Argument(help="Name in lower case, such as upscale_cats.")] = None,
    source: Annotated[
        str,
        typer.Option("--from", help="Copy a built-in example, a file, or a file at an https:// address."),
    ] = "",
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="INPUT=VALUE", help="The value of an input of a blueprint."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the built-in examples.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write the copy without asking.")] = False,
    allow_variables: Annotated[
        bool,
        typer.Option(
            "--allow-variables", help="Accept a file from the web that reads variables of your environment."
        ),
    ] = False,
) -> None:
    """Create NAME.toml with a test, or a copy of another file.

    Without --from, tests/test_NAME.py is its test. With --from you see first what the copy may do. Beside them it writes hookchain.schema.json, with which editors complete and check the rules. Nothing in a copied file is run."""
    # Imported here because it is slow to load: it checks rules.
    from hookchain.cli import new_rules

    if show_list:
        new_rules.list_examples()
        return
    if name is None:
        raise SettingsError("the name of the new rules is missing: hookchain new rules NAME")
    if source:
        path = new_rules.copy(name, source, given or [], yes=yes, allow_variables=allow_variables)
        say(f"wrote {path}")
        _write_schema()
        say(f"read it, and add it to the include of hookchain.toml, or try it: hookchain rules try {path}")
        return
    if given or allow_variables or yes:
        raise SettingsError("--set, --yes and --allow-variables are for copies: add --from")
    _write(name, {f"{name}.toml": RULES, f"tests/test_{name}.py": RULES_TEST}, with_schema=True)


def _write(name: str, files: dict[str, str], *, with_schema: bool = False) -> None:
    """Write all files, or none if one of them exists. Raises `SettingsError`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise SettingsError(
            f"{name!r} is not a valid name: use lower-case letters, digits and _, such as upscale_cats"
        )
    for file in files:
        if Path(file).exists():
            raise SettingsError(f"{file} already exists; choose another name, or move the file")
    for directory in dict.fromkeys(Path(file).parent for file in files):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"cannot create the directory {directory}: {error.strerror}") from error
    for file, text in files.items():
        title = name.replace("_", " ").capitalize()
        Path(file).write_text(text.format(name=name, title=title, schema=SCHEMA), encoding="utf-8")
        say(f"wrote {file}")
    if with_schema:
        _write_schema()
    say("run its test: pytest")


def _write_schema() -> None:
    """Write the schema beside the rules. One that is there may be of another version; another program's file stays."""
    # Imported here because it loads all models.
    from hookchain.schema import TITLE, file_schema

    path = Path(SCHEMA)
    if path.exists() and f'"title": "{TITLE}"' not in path.read_text(encoding="utf-8", errors="replace"):
        say(
            f"{SCHEMA} is another file; editors use it, since the first line of the rules names it",
            to_errors=True,
        )
        return
    path.write_text(json_text(file_schema()) + "\n", encoding="utf-8")
    say(f"wrote {SCHEMA}")
