"""The plugins, the rules and all receivers of a process, as they are loaded at its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from dispatcher.plugins import own_windows
from dispatcher.plugins.discovery import Plugin, find_plugins
from dispatcher.plugins.errors import PluginError, RuleError
from dispatcher.plugins.plugin_settings import PluginTables
from dispatcher.plugins.receivers import Registry, name_of
from dispatcher.plugins.signals import SIGNALS, submission_leaving
from dispatcher.policy.cron_times import cron_time, next_ms
from dispatcher.rules.checks import action_keys
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.confined import evaluate_confined
from dispatcher.rules.reload import InFile, LiveRules
from hookchain.rules import RulesFound, configured, find_all
from hookchain.rules.include import paths_of
from hookchain.settings.changes import changed_settings
from hookchain.settings.file import display_path, parse
from hookchain.settings.load import Settings, SettingsError, load_settings
from hooks.api.reports import Loaded, Rule, RulesInUse, RuleWarning
from hooks.api.reports import Plugin as LoadedPlugin
from hooks.times import when
from storage import clock

log = structlog.get_logger("hookchain")


class Receivers(msgspec.Struct, frozen=True, kw_only=True):
    """The loaded plugins, what is probably wrong with them, the rules, and the registry of all receivers by name. `zone` is the time zone
    of times that name none."""

    plugins: list[Plugin]
    warnings: list[str] = []
    rules: LiveRules
    registry: Registry
    zone: str = "UTC"


def connect_receivers(settings: Settings, environment: Mapping[str, str] | None = None) -> Receivers:
    """Load plugins and connect rules. The settings were made from this environment, os.environ if None.

    Raises `PluginError` and `SettingsError`.
    """
    tables = PluginTables(settings.plugin_tables, display_path(settings.file))
    found = find_plugins(settings.plugins, settings.directory, tables)
    if found.problems:
        raise PluginError(*found.problems)
    for warning in found.warnings:
        log.warning("a plugin is probably not as you mean it", what=warning)
    if found.plugins:
        own_windows.connect()
    files = _RuleFiles(settings, environment)
    rules = LiveRules(files.at_start(), settings.file, files.read, files.watched)
    registry = Registry(SIGNALS)
    rules.watch(registry)
    return Receivers(
        plugins=found.plugins,
        warnings=found.warnings,
        rules=rules,
        registry=registry,
        zone=settings.timezone,
    )


class _RuleFiles:
    """The configuration file, and the files that it includes."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] | None) -> None:
        self._settings = settings
        self._environment = environment
        self._include = settings.include

    def watched(self) -> list[Path]:
        """The files that have rules now, also while one of them has a mistake."""
        return [self._settings.file, *paths_of(self._include, self._settings.file)]

    def at_start(self) -> list[CompiledRule]:
        """The rules from which the process starts. Raises `SettingsError`."""
        return _without_doubts(find_all(configured(self._settings, evaluate_confined)))

    def read(self) -> InFile:
        """What the files say now, checked as at a start. Raises `RuleError`.

        The rules are compiled for the upstreams that are in use.
        """
        settings, changed = self._settings, list[str]()
        try:
            now = load_settings(self._environment, settings.directory)
            self._include = now.include
            changed = changed_settings(parse(settings.text, settings.file), parse(now.text, now.file))
            in_use = msgspec.structs.replace(settings, text=now.text, include=now.include)
            rules = _without_doubts(find_all(configured(in_use, evaluate_confined)))
            return InFile(rules=rules, after_restart=changed)
        except SettingsError as error:
            also = f"changed, and in use after a restart: {'; '.join(changed)}"
            raise RuleError(*error.messages, *([also] if changed else [])) from error


def _without_doubts(found: RulesFound) -> list[CompiledRule]:
    """The rules; what is doubtful about their files goes to the log. Raises `SettingsError`."""
    for warning in found.warnings:
        log.warning("a rule file is doubtful", why=str(warning))
    return found.all_right()


def _next_at(compiled: CompiledRule, zone: str) -> str | None:
    """When a rule that runs by the clock fires next."""
    rule = compiled.rule
    if not rule.every or not rule.enabled:
        return None
    return when(next_ms(cron_time(rule.every, zone=zone), clock.now_ms()))


def loaded(receivers: Receivers) -> Loaded:
    """The active rules and plugins, as the API shows them."""
    status, registry = receivers.rules.status, receivers.registry
    rules = [
        Rule(
            name=compiled.rule.name,
            where=compiled.where,
            on=", ".join(compiled.rule.signals),
            condition=compiled.rule.when,
            does=action_keys(compiled.rule),
            warnings=[
                RuleWarning(kind=one.kind, key=one.key, problem=one.problem, remedy=one.remedy)
                for one in compiled.warnings
            ],
            enabled=compiled.rule.enabled,
            description=compiled.rule.description,
            every=compiled.rule.every,
            next_at=_next_at(compiled, receivers.zone),
        )
        for compiled in receivers.rules.rules
    ]
    return Loaded(
        rules=RulesInUse(
            file=status.file,
            error=status.error,
            after_restart=list(status.after_restart),
            loaded_at=when(status.loaded_at_ms),
            rules=rules,
        ),
        plugins=[LoadedPlugin(name=plugin.name, origin=plugin.origin) for plugin in receivers.plugins],
        warnings=receivers.warnings,
        receivers={name: registry.signals_of(name) for name in registry.names()}
        | {name_of(function): [submission_leaving.name] for function in submission_leaving.functions()},
    )
