"""The plugins, the rules and all receivers of a process, as they are loaded at its start."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from dispatcher.plugins.discovery import Plugin, find_plugins
from dispatcher.plugins.errors import PluginError, RuleError
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.checks import action_keys
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.confined import evaluate_confined
from dispatcher.rules.reload import LiveRules
from hookchain.rules import read_rules, rules_of
from hookchain.settings.load import Settings, SettingsError
from hooks.api.reports import Loaded, Rule, RulesInUse
from hooks.api.reports import Plugin as LoadedPlugin
from hooks.times import when

log = structlog.get_logger("hookchain")


class Receivers(msgspec.Struct, frozen=True, kw_only=True):
    """The loaded plugins, what is probably wrong with them, the rules, and the registry of all receivers by name."""

    plugins: list[Plugin]
    warnings: list[str] = []
    rules: LiveRules
    registry: Registry


def connect_receivers(settings: Settings) -> Receivers:
    """Load plugins and connect rules. Raises `PluginError` and `SettingsError`."""
    found = find_plugins(settings.plugins, settings.directory)
    if found.problems:
        raise PluginError(*found.problems)
    for warning in found.warnings:
        log.warning("a plugin is probably not as you mean it", what=warning)
    rules = LiveRules(rules_of(settings, evaluate_confined), settings.file, partial(_read_rules, settings))
    registry = Registry(SIGNALS)
    rules.watch(registry)
    return Receivers(plugins=found.plugins, warnings=found.warnings, rules=rules, registry=registry)


def _read_rules(settings: Settings) -> Sequence[CompiledRule]:
    """The rules that are now in the configuration file. Raises `RuleError`."""
    try:
        return read_rules(settings.file, settings.upstreams, settings.image_folders, evaluate_confined)
    except SettingsError as error:
        raise RuleError(str(error)) from error


def loaded(receivers: Receivers) -> Loaded:
    """The active rules and plugins, as the API shows them."""
    status, registry = receivers.rules.status, receivers.registry
    rules = [
        Rule(
            name=compiled.rule.name,
            where=compiled.where,
            on=compiled.rule.on,
            condition=compiled.rule.when,
            does=action_keys(compiled.rule),
        )
        for compiled in receivers.rules.rules
    ]
    return Loaded(
        rules=RulesInUse(
            file=status.file, error=status.error, loaded_at=when(status.loaded_at_ms), rules=rules
        ),
        plugins=[LoadedPlugin(name=plugin.name, origin=plugin.origin) for plugin in receivers.plugins],
        warnings=receivers.warnings,
        receivers={name: registry.signals_of(name) for name in registry.names()},
    )
