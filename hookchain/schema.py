"""The JSON Schema of hookchain.toml, made from the models that load it, so that editors complete and check the file.

What depends on other files, on the environment or on several keys is not in it: `hookchain rules check` knows more. Only words that
draft 4 has too are used, because that is what Taplo (Even Better TOML) reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from dispatcher.plugins.signals import SIGNALS
from dispatcher.plugins.submit_options import LONGEST_DELAY_S
from dispatcher.policy.period_budgets import PeriodBudget
from dispatcher.rules.blueprint import Blueprint
from dispatcher.rules.model import EFFECTS, STAGED, Rule
from hookchain.settings.tables import File
from midjourney.dialects import DIALECTS, Dialect
from midjourney.prices import PRICED
from storage.records import STRUCK

Schema = dict[str, object]

TITLE = "hookchain.toml"

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{\w+\}|<<\s*\w+\s*>>"}
"""A text may come from the environment, "${VAR}", or from an input of a blueprint, "<<NAME>>"."""

MEANINGS: Mapping[str, str] = {
    "database_url": "sqlite:///path, or postgresql://…",
    "host": "Where to listen.",
    "port": "Where to listen; 0 picks a free port.",
    "public_url": "How upstreams reach this server.",
    "secret": "hookchain derives hook URLs from it.",
    "admin_token": "Opens the dashboard, and the API as Authorization: Bearer.",
    "plugins": "Modules or files; plugins/*.py always loads.",
    "image_folders": "Folders, besides that of the rules, from which rules may load images and masks.",
    "log_level": "What is logged.",
    "log_format": "For people, or as JSON.",
    "keep_alive_s": "Seconds for which an idle connection stays open; more than your router's idle time-out.",
    "body_limit_bytes": "The largest callback.",
    "poll_only": "Send no notifyHook, and poll instead.",
    "worker": "Whether `serve` includes a worker.",
    "volume": "A directory on a persistent disk.",
    "timezone": "The time zone in which the periods of budgets begin, such as Europe/Berlin.",
    "budget": "What rules and plugins may submit in one chain.",
    "budgets": "What may be submitted or spent in an hour, a day or a month.",
    "retention": "What is deleted, and after how long.",
    "quotas": "How much an upstream's callbacks may store.",
    "upstreams": "The accounts at midjourney-proxy style APIs, by name.",
    "dialects": "Vendors' APIs, by name.",
    "gateway": "The API for bots, pages and nodes that use hookchain as their upstream.",
    "clients": "The gateway's clients, by name.",
    "pools": "Several upstreams that share the gateway's orders, by name.",
    "include": "Files with more rules, beside this one: a list of names and patterns, such as rules/*.toml.",
    "vars": "Names for values that rules use, as vars.factor.",
    "macros": "Names for expressions and texts that rules use, as is_final or wide('16:9').",
    "blueprint": "The inputs of a rule file that others fill, and their values.",
    "rules": "What happens after a signal; the first mistake stops the start.",
}
"""What the keys at the top of the file are for."""


def file_schema() -> Schema:
    """The schema of hookchain.toml, as JSON values."""
    _, definitions = msgspec.json.schema_components(
        [File, Rule, Dialect, Blueprint], schema_hook=_anything, ref_template="#/$defs/{name}"
    )
    tables = {name: _tidied(_described(definition)) for name, definition in definitions.items()}
    for name in ("Upstream", "Client", "Pool", "Dialect"):
        del _properties(tables[name])["name"]  # it is the name of the table
    file = tables.pop("File")
    _complete_file(_properties(file), tables[Rule.__name__])
    _complete_dialect(tables["Dialect"])
    _complete_rule(tables[Rule.__name__])
    del tables["Upstream"]["required"]  # its url may come from a variable
    budget = tables[PeriodBudget.__name__]
    budget["oneOf"] = _one_of_keys(["submissions", "spend"])
    prices = _properties(tables["Upstream"])["prices"]
    price = prices["additionalProperties"]
    prices |= {"properties": dict.fromkeys(sorted(PRICED), price), "additionalProperties": False}
    del file["title"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        **file,
        "description": "The configuration of hookchain: settings and rules.",
        "$defs": tables,
    }


def _anything(_kind: type) -> Schema:
    """The schema of a type that msgspec does not know. Not empty, since msgspec takes an empty one for none."""
    return {"description": "any value"}


def _properties(table: Schema) -> dict[str, Schema]:
    properties = table["properties"]
    assert isinstance(properties, dict)
    return properties


def _described(table: Schema) -> Schema:
    """The table, whose description is split among the keys that it names between backticks."""
    text = " ".join(str(table.get("description", "")).split())
    sentences = re.split(r"(?<=[.;])\s+", text)
    for name, value in (_properties(table) if "properties" in table else {}).items():
        about = [sentence.rstrip(";.") for sentence in sentences if f"`{name}`" in sentence]
        if about and "$ref" not in value:
            value["description"] = ". ".join(about) + "."
    return table | ({"description": text} if text else {})


def _tidied(value: Schema) -> Schema:
    """Without null, which TOML does not have; and with "${VAR}" beside fixed words."""
    tidied: Schema = {}
    for key, inner in value.items():
        if key == "anyOf" and isinstance(inner, list):
            tidied[key] = [_tidied(one) for one in inner if one != {"type": "null"}]
        elif key in ("properties", "$defs") and isinstance(inner, dict):
            tidied[key] = {name: _tidied(one) for name, one in inner.items()}
        elif key in ("items", "additionalProperties") and isinstance(inner, dict):
            tidied[key] = _tidied(inner)
        elif (key, inner) != ("default", None):
            tidied[key] = inner
    if "enum" in tidied and "properties" not in tidied:
        tidied["anyOf"] = [{"enum": tidied.pop("enum")}, _VARIABLE]
    return tidied


def _complete_file(keys: dict[str, Schema], rule: Schema) -> None:
    keys["rules"] = {"type": "array", "items": {"$ref": f"#/$defs/{Rule.__name__}"}}
    keys["vars"] = dict(_properties(rule)["vars"])
    keys["macros"] = {"type": "object", "additionalProperties": {"type": "string"}}
    keys["blueprint"] = {"$ref": f"#/$defs/{Blueprint.__name__}"}
    keys["dialects"]["additionalProperties"] = {"$ref": f"#/$defs/{Dialect.__name__}"}
    for name, schema in keys.items():
        # Draft 4 ignores all that stands beside a reference.
        if "$ref" in schema:
            schema["allOf"] = [{"$ref": schema.pop("$ref")}]
        schema["description"] = MEANINGS[name]


def _complete_dialect(dialect: Schema) -> None:
    """A dialect changes another one, so that it needs no key."""
    dialect["required"] = []
    _properties(dialect)["like"] = {
        "anyOf": [{"enum": sorted(DIALECTS)}, _VARIABLE],
        "description": "The shipped dialect that this one begins with.",
    }


def _complete_rule(rule: Schema) -> None:
    heard = {
        name: signal for name, signal in SIGNALS.items() if name != STRUCK
    }  # who wants that writes `every`
    signals = "\n".join(f"{name}: {signal.__doc__}" for name, signal in heard.items())
    fixed: list[Schema] = [{"enum": list(heard)}, _VARIABLE]
    several: Schema = {"type": "array", "items": {"anyOf": fixed}, "minItems": 1, "uniqueItems": True}
    _properties(rule)["on"] = {
        "anyOf": [*fixed, several],
        "description": f"The signal, or a list of signals.\n{signals}",
    }
    number, text = {"type": "number", "minimum": 0, "maximum": LONGEST_DELAY_S}, {"type": "string"}
    _properties(rule)["after"]["anyOf"] = [number, text]
    for name, value in _properties(rule).items():
        if value.get("type") in ("integer", "number", "boolean"):  # may be an input of a blueprint
            _properties(rule)[name] = {"anyOf": [value, _VARIABLE]}
            _properties(rule)[name] |= {key: value[key] for key in ("description", "default") if key in value}
    rule["required"] = ["name"]
    rule["anyOf"] = _one_of_keys((*STAGED, *EFFECTS))
    rule["oneOf"] = _one_of_keys(("on", "every"))


def _one_of_keys(keys: Iterable[str]) -> list[Schema]:
    return [{"required": [key]} for key in keys]
