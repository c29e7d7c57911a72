"""What users hold on to is documented."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from dispatcher.pictures import confined as pictures
from dispatcher.pictures.questions import MOST_PIXELS
from dispatcher.plugins.signals import SIGNALS
from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.period_budgets import PeriodBudget
from dispatcher.policy.retention import Retention
from dispatcher.rules import confined as expressions
from dispatcher.rules.compile import RuleContext
from dispatcher.rules.language import LONGEST_TEXT
from dispatcher.rules.model import KEYS as RULE_KEYS
from dispatcher.rules.sources import Source, find_in
from dispatcher.rules.values import LONGEST_VALUE, MOST_KEYS
from dispatcher.tickets.clients import Client, Pool
from hookchain.settings.environment import keys, variable_of
from hookchain.settings.gateway import GatewaySettings
from hookchain.settings.load import SANDBOX, Settings
from hookchain.settings.tables import File
from hooks.api.routes import Api
from hooks.images.proxy import Images
from hooks.quotas import Quota
from midjourney.dialects import DIALECTS, Dialect, Upstream
from midjourney.sandbox.faults import SWITCHES
from storage.engine import Database

ROOT = Path(__file__).parent.parent
CONFIGURATION = (ROOT / "docs/reference/configuration.md").read_text()
HIDDEN = {
    "name",
    "directory",
    "file",
    "text",
    "upstreams",
    "budget",
    "retention",
    "quotas",
    "platform",
    "listens",
    "gateway",
    "clients",
    "pools",
    "plugin_tables",
}


@pytest.mark.parametrize(
    "kind", [Settings, Upstream, Budget, PeriodBudget, Retention, Quota, GatewaySettings, Client, Pool]
)
def test_every_key_is_documented(kind: type[msgspec.Struct]) -> None:
    """With its default, in a table."""
    assert [
        name for name in kind.__struct_fields__ if f"`{name}`" not in CONFIGURATION and name not in HIDDEN
    ] == []


@pytest.mark.parametrize(
    ("page", "table", "kind"),
    [
        ("configuration", (), File),
        ("configuration", ("upstreams", "main"), Upstream),
        ("configuration", ("budget",), Budget),
        ("configuration", ("retention",), Retention),
        ("configuration", ("quotas",), Quota),
        ("configuration", ("gateway",), GatewaySettings),
        ("configuration", ("clients", "shop"), Client),
        ("configuration", ("pools", "both"), Pool),
        ("dialects", ("dialects", "mine"), Dialect),
    ],
)
def test_every_variable_is_documented_beside_its_key(
    page: str, table: tuple[str, ...], kind: type[msgspec.Struct]
) -> None:
    """In the same row of the table."""
    rows = re.findall(r"^\|.*", (ROOT / f"docs/reference/{page}.md").read_text(), re.MULTILINE)
    tables = {"upstreams", "budget", "retention", "quotas", "dialects", "gateway", "clients", "pools"}
    for key in keys(kind).keys() - tables:
        variable = variable_of((*table, key))
        assert any(f"`{key}`" in row and f"`{variable}`" in row for row in rows), variable


def test_every_rule_key_and_dialect_is_documented() -> None:
    """On their pages."""
    rules = (ROOT / "docs/reference/rules.md").read_text()
    assert [key for key in RULE_KEYS if f"`{key}`" not in rules] == []
    assert [key for key in DIALECTS if f"`{key}`" not in CONFIGURATION] == []


def test_every_signal_is_documented() -> None:
    """By the name rules use."""
    page = (ROOT / "docs/reference/signals.md").read_text()
    assert [name for name in SIGNALS if f"`{name}`" not in page] == []


def test_every_path_is_documented(tmp_path: Path) -> None:
    """Of the API, and of pictures."""
    page = (ROOT / "docs/reference/http.md").read_text()
    database = Database(f"sqlite:///{tmp_path}/x.db")
    api = Api(database, {}, {SANDBOX: DIALECTS["mj-plus"]}, {})
    routes = [*api.routes(), *Images(database, {}).routes(lambda handler: handler)]
    paths = {re.sub(r":(int|path)", "", str(getattr(route, "path", ""))) for route in routes}
    assert [path for path in sorted(paths) if f"{path}`" not in page] == []


def rules_in(page: Path) -> list[str]:
    """The indented blocks of a page that have rules."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", page.read_text(), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if "[[rules]]" in block]


PAGES_WITH_RULES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if rules_in(page)
]


@pytest.mark.parametrize("page", PAGES_WITH_RULES, ids=[page.stem for page in PAGES_WITH_RULES])
def test_the_rules_of_the_pages_load_without_a_warning(page: Path) -> None:
    """As they stand there."""
    for text in rules_in(page):
        # The tutorial shows a file as the command that writes it, and tests have rules as texts.
        first = "\\[\\[rules" if "\ndef " in text else r"^ *\[(\[rules\]|vars|macros|blueprint)\]"
        begin = re.search(first, text, re.MULTILINE)
        assert begin
        toml = text[begin.start() :]
        toml = toml.partition('"""')[0] if "\ndef " in toml else toml
        tables = tomllib.loads(re.sub(r"\$\{\w+\}", "value", toml))
        source = Source(file=page.name, text=toml, tables=tables, context=RuleContext(directory=None))
        rules, mistakes = find_in([source])
        assert (mistakes, bool(rules)) == ([], True)
        assert [str(warning) for rule in rules for warning in rule.warnings] == []


def test_the_readme_has_rules() -> None:
    """What the project is for."""
    assert ROOT / "README.md" in PAGES_WITH_RULES


def test_every_linked_page_is_there() -> None:
    """Links of README and docs that stay inside the repository."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_fault_is_documented_as_it_is() -> None:
    """With its probabilities, alone and in the profile."""
    page = (ROOT / "docs/reference/sandbox.md").read_text()
    for name, switch in SWITCHES.items():
        alone, rough = f"{switch.alone:g}", f"{switch.rough:g}" if switch.rough else ""
        assert re.search(rf"\| `{name}` \| .+ \| {re.escape(alone)} \| {re.escape(rough)} ?\|", page), name


def test_every_fact_of_a_dialect_is_documented() -> None:
    """The keys that a dialect of one's own may have."""
    page = (ROOT / "docs/reference/dialects.md").read_text()
    assert [key for key in Dialect.__struct_fields__ if f"`{key}`" not in page and key != "name"] == []


@pytest.mark.parametrize(
    "row",
    [
        f"| a value: its characters, with its items if it is a list or a table | {LONGEST_VALUE:,} |",
        f"| fields of `task.extra`, each of them a value | {MOST_KEYS:,} |",
        f"| what the expressions in a template produce | {LONGEST_TEXT:,} characters",
        f"| processor time for one expression | {expressions.PROCESSOR_S:g} s",
        f"| time by the clock for one expression | {expressions.WITHIN_S:g} s |",
        f"| memory for one expression | {expressions.MEMORY_BYTES >> 20} MB",
        f"| pixels | {MOST_PIXELS:,};",
        f"| memory | {pictures.MEMORY_BYTES >> 20} MB |",
        f"| processor time for one picture | {pictures.PROCESSOR_S:g} s |",
        f"| time by the clock for one picture | {pictures.WITHIN_S:g} s |",
    ],
)
def test_the_limits_of_expressions_and_pictures_are_those_of_the_code(row: str) -> None:
    """What a rule that runs into one is told to stay below."""
    assert row in (ROOT / "docs/reference/rules.md").read_text()
