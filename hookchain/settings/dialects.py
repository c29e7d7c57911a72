"""`[dialects.NAME]`: custom dialects, based on the shipped ones."""

from __future__ import annotations

import msgspec

from dispatcher.rules.spelling import nearest
from hookchain.settings.conversion import SettingsError
from hookchain.settings.environment import inner_table
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Dialect
from midjourney.modes import MODE
from midjourney.statuses import Status


def dialect_of(name: str, table: dict[str, object], where: str) -> Dialect:
    """A dialect from the file: the shipped dialect that `like` names, with some facts changed. Raises `SettingsError`."""
    changes = dict(table)
    like = changes.pop("like", name if name in DIALECTS else DEFAULT_DIALECT)
    if not isinstance(like, str) or like not in DIALECTS:
        raise SettingsError(f"{where}: {like!r} is not a shipped dialect.{nearest(str(like), DIALECTS)}")
    if paths := inner_table(changes, "paths"):
        changes["paths"] = dict(DIALECTS[like].paths) | paths
    _check_statuses(where, changes.get("statuses"))
    _check_modes(where, changes.get("modes"))
    try:
        return msgspec.convert(msgspec.structs.asdict(DIALECTS[like]) | changes | {"name": name}, Dialect)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}") from error


def _check_statuses(where: str, statuses: object) -> None:
    for word, status in (statuses if isinstance(statuses, dict) else {}).items():
        if not word.strip():
            raise SettingsError(f"{where}: `statuses` has an empty word; remove it")
        if status not in tuple(Status):
            raise SettingsError(
                f"{where}: `statuses` maps {word} to {status!r}, an unknown status.{nearest(str(status), Status)}"
            )


def _check_modes(where: str, modes: object) -> None:
    for mode, how in (modes if isinstance(modes, dict) else {}).items():
        if not MODE.fullmatch(mode):
            raise SettingsError(f"{where}: `modes` has {mode!r}; write a word such as fast or relax")
        if not isinstance(how, str) or not how.strip("/ ") or (how.startswith("/") and how.endswith("/")):
            raise SettingsError(
                f'{where}: the mode {mode} is {how!r}; write the prefix of its paths, such as "/mj-{mode}/mj", '
                f'or the word for the field `mode` of the body, such as "{mode.upper()}"'
            )
