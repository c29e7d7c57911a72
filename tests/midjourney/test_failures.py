"""Why something failed, by the words that upstreams really write; what nobody knows is never guessed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from midjourney.codes import classify
from midjourney.decode import decode_task
from midjourney.failure_words import TABLE, Entry
from midjourney.failures import (
    ACCOUNT_LEVEL,
    HARMLESS,
    KINDS,
    entry_of,
    failure_kind,
    refusal_kind,
    stops_everything,
    words_of,
)
from midjourney.types import Task

CORPUS = Path(__file__).parent.parent / "corpus"
PAGE = Path(__file__).parent.parent.parent / "docs/reference/failures.md"
SEEN = [pytest.param(entry, text, id=text[:40]) for entry in TABLE for text in entry.seen]

# What is recorded in the corpus, as tasks that failed and as submits that were refused.
TASKS = {
    "mc-fetch-failure-invalid-parameter.json": "parameter",
    "mc-fetch-failure-policy.json": "moderation",
    "mw-fetch-cancel.json": "unknown",
    "newapi-constructed-fetch-timeout.json": "timeout",
    "novicezk-issue-212-failure-timeout.json": "timeout",
    "plus-constructed-callback-cancel.json": "unknown",
    "py-fetch-failure.json": "parameter",
    "trueai-constructed-callback-failure.json": "moderation",
}
REFUSALS = {
    "plus-constructed-action-bookmark.json": "parameter",
    "plus-constructed-action-missing-button.json": "parameter",
    "plus-constructed-modal-mask-missing.json": "parameter",
    "plus-doc-submit-24-banned.json": "moderation",
    "trueai-constructed-action-unknown-task.json": "parameter",
    "trueai-constructed-logic-exception.json": "parameter",
    "trueai-constructed-submit-queue-full-9.json": "queue",
    "trueai-doc-en-submit-24.json": "moderation",
}


@pytest.mark.parametrize(("entry", "text"), SEEN)
def test_every_text_that_was_seen_is_known_by_its_own_entry(entry: Entry, text: str) -> None:
    """So that none stands in another's shadow, wherever a new one is put in."""
    assert entry_of(text) is entry


def test_every_entry_says_where_it_was_seen() -> None:
    """And there are words for each kind but "unknown", in English and in Chinese."""
    assert all(entry.seen and entry.source for entry in TABLE)
    known = {(entry.kind, entry.language) for entry in TABLE}
    assert known == {(kind, language) for kind in KINDS if kind != "unknown" for language in ("en", "zh")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "failed",
        "string",
        "[Internal Server Error] Something went wrong while processing your request",
        "执行错误，系统异常",
        "提交失败，系统异常",
        "上传图片到discord失败",
        "强制取消",
        "Failed to process your command",
        "a castle on a hill",
    ],
)
def test_what_nobody_knows_is_unknown(text: str) -> None:
    """Which the shipped rules leave alone."""
    assert failure_kind(text) == "unknown"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[Invalid parameter] Unrecognized parameter: --blocked from accessing midjourney", "parameter"),
        ("Invalid parameter, insufficient quota is not compatible with --v 7", "parameter"),
        ("[Banned prompt detected] The word `insufficient balance` is banned", "moderation"),
        ("Something about `credits exhausted`", "unknown"),
    ],
)
def test_what_a_prompt_says_is_no_reason(text: str, kind: str) -> None:
    """The title is the upstream's; what follows may quote a stranger, who could pause an upstream with it."""
    assert failure_kind(text) == kind


@pytest.mark.parametrize("name", TASKS)
def test_recorded_tasks_that_failed(name: str) -> None:
    """As they came."""
    assert decode_task((CORPUS / name).read_bytes()).failure_kind == TASKS[name]


def test_no_recorded_task_that_failed_is_left_out() -> None:
    """Whatever comes into the corpus has its kind above."""
    found = set()
    for path in CORPUS.glob("*.json"):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and content.get("status") in ("FAILURE", "CANCEL"):
            found.add(path.name)
    assert found == set(TASKS)


@pytest.mark.parametrize("name", REFUSALS)
def test_recorded_refusals(name: str) -> None:
    """From the answer to the word, as a submission keeps it."""
    verdict = classify("action", 200, (CORPUS / name).read_bytes())
    assert refusal_kind(f"rejected:{verdict.refusal}", verdict.reason) == REFUSALS[name]


@pytest.mark.parametrize(
    ("outcome", "reason", "kind"),
    [
        ("rejected:queue_full", "HTTP 429: an empty body", "queue"),
        ("rejected:queue_full", "code 23", "queue"),
        ("rejected:auth", "HTTP 401: <html>", "account"),
        ("rejected:auth", "no code: user quota is not enough", "money"),  # new-api: with 403
        ("rejected:final", "code 24: no", "moderation"),
        ("rejected:final", "code 24: May contain sensitive words (blocked)", "moderation"),
        ("rejected:final", "code 4: quota_not_enough ", "money"),
        ("rejected:final", "code 9: ; sent POST /mj/submit/imagine prompt=queue full; HTTP 200", "unknown"),
        ("rejected:stale_parent", "code 3: 关联任务不存在或已失效", "parameter"),
        ("rejected", "code 3: 账号不可用: 1", "account"),
        ("invalid", "no prompt", "parameter"),
        ("not_sent", "connection refused", "timeout"),
        ("accepted", "code 1: 任务超时", None),
        ("uncertain", "HTTP 500", None),
        ("", "", None),
    ],
)
def test_why_a_submission_came_to_nothing(outcome: str, reason: str, kind: str | None) -> None:
    """Its words first, then what we made of its answer; the request that we show in a reason counts for nothing."""
    assert refusal_kind(outcome, reason) == kind


def test_a_task_has_a_kind_only_when_it_failed() -> None:
    """A reason that stands in a running task says nothing yet."""
    assert Task(id="1", status="IN_PROGRESS", fail_reason="任务超时").failure_kind == ""
    assert Task(id="1", status="SUCCESS", fail_reason="任务超时").failure_kind == ""
    assert Task(id="1", status="FAILURE", fail_reason="任务超时").failure_kind == "timeout"
    assert Task(id="1", status="FAILURE").failure_kind == "unknown"


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("[Blocked] You have been blocked from accessing Midjourney.", True),
        ("code 4: quota_not_enough ; sent POST /mj/submit/imagine", True),
        ("无可用的账号实例", False),
        ("任务超时", False),
        ("可能包含敏感词", False),
    ],
)
def test_an_account_or_money_stops_everything_and_a_passing_outage_does_not(text: str, stops: bool) -> None:
    """A relay that has no account just now has one again in a minute; nobody need do anything."""
    assert stops_everything(failure_kind(words_of(text)), text) is stops


def test_what_is_repeated_and_what_pauses_have_nothing_in_common() -> None:
    """And nothing harmless is about words, accounts or money."""
    assert not HARMLESS & ACCOUNT_LEVEL
    assert sorted(HARMLESS) == ["queue", "timeout"]


def test_the_page_shows_the_table() -> None:
    """docs/reference/failures.md: every text that was seen, in the table's order, with its kind."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [
        (entry.kind, entry.language, "; ".join(one.replace("|", r"\|") for one in entry.seen), entry.source)
        for entry in TABLE
    ]
