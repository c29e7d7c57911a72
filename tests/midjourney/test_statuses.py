"""Words for a status: those that all vendors share, those of one dialect, and those that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from hookchain.settings.load import SettingsError, load_settings
from midjourney.decode import decode_task, kept_task
from midjourney.dialects import DIALECTS
from midjourney.lists import decode_list
from midjourney.presses import presses
from midjourney.statuses import Status, canonical_status

BODY = (Path(__file__).parent.parent / "cases" / "09_status_completed.json").read_bytes()
DIALECT = DIALECTS["mj-plus"]
MINE = {"COMPLETED": Status.SUCCESS}


def test_a_complete_picture_with_an_unknown_status_is_kept_warned_of_and_never_pressed() -> None:
    """It is no SUCCESS."""
    task = decode_task(BODY)
    assert (task.status, task.unknown_end, task.is_finished) == ("completed", "completed", False)
    assert "'completed' is unknown" in task.oddity
    assert task.is_grid
    assert presses(task, "U*", DIALECT) == presses(task, task.buttons[0].custom_id, DIALECT) == []


@pytest.mark.parametrize(
    "changed", [{"progress": "99%"}, {"imageUrl": ""}, {"status": "IN_PROGRESS"}, {"status": "FAILURE"}]
)
def test_nothing_is_odd_about_a_task_that_may_go_on(changed: dict[str, str]) -> None:
    """An unknown word before the end is one of the many that vendors add."""
    assert decode_task(json.dumps(json.loads(BODY) | changed).encode()).oddity == ""


def test_a_dialect_may_name_the_status() -> None:
    """Then it is a SUCCESS, wherever it is read: in callbacks, fetches, lists, and what is kept of them."""
    for task in (
        decode_task(BODY, MINE),
        kept_task(BODY, MINE),
        *decode_list(b"[" + BODY + b"]", MINE).tasks,
    ):
        assert task is not None
        assert (task.status, task.unknown_end, task.oddity) == ("SUCCESS", "", "")
        assert len(presses(task, "U*", DIALECT)) == 4


def test_the_words_of_a_dialect_come_first_in_any_case() -> None:
    """Numbers too; and other dialects are not concerned."""
    dialect = msgspec.structs.replace(
        DIALECT, statuses={" Completed": "SUCCESS", "2": "MODAL", "finished": "IN_PROGRESS"}
    )
    for word, status in (
        ("COMPLETED", "SUCCESS"),
        ("completed ", "SUCCESS"),
        (2, "MODAL"),
        ("FINISHED", "IN_PROGRESS"),
    ):
        assert canonical_status(word, dialect.statuses) == status
    assert canonical_status("FINISHED") == "SUCCESS"
    assert canonical_status("completed") == "completed"


def test_people_set_the_words_of_their_dialect(tmp_path: Path) -> None:
    """In the file, or by a variable."""
    (tmp_path / "hookchain.toml").write_text(
        '[dialects.mine]\nlike = "new-api"\nstatuses = { completed = "SUCCESS" }\n'
    )
    by_file = load_settings({}, tmp_path).dialects["mine"]
    by_variable = load_settings(
        {"HOOKCHAIN_DIALECTS_OTHER_STATUSES": "COMPLETED=SUCCESS, broken=FAILURE"}, tmp_path
    )
    assert (by_file.statuses, by_file.calls_back) == (MINE, False)
    assert by_variable.dialects["other"].statuses == MINE | {"BROKEN": Status.FAILURE}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            '{ completed = "SUCESS" }',
            "`statuses` maps completed to 'SUCESS', an unknown status. Did you mean \"SUCCESS\"?",
        ),
        ('{ " " = "SUCCESS" }', "empty word"),
    ],
)
def test_a_mistake_in_the_words_is_told(tmp_path: Path, table: str, told: str) -> None:
    """With where it is, and what may have been meant."""
    (tmp_path / "hookchain.toml").write_text(f"[dialects.mine]\nstatuses = {table}\n")
    with pytest.raises(SettingsError, match=r"hookchain.toml, \[dialects.mine\]") as error:
        load_settings({}, tmp_path)
    assert told in str(error.value)
