"""Answers that contradict each other between dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midjourney.codes import Outcome, Refusal, classify


def answer(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_21_on_an_action_is_a_window() -> None:
    """Plus and trueai; with no description and no properties too."""
    assert classify("action", 200, answer(code=21, result="5")).outcome is Outcome.NEEDS_MODAL


def test_21_on_a_change_is_an_existing_task() -> None:
    """novicezk until 2024-03-25."""
    verdict = classify("change", 200, answer(code=21, description="任务已存在", result="5", properties={}))
    assert (verdict.outcome, verdict.ids) == (Outcome.EXISTED, ("5",))


def test_21_on_an_action_may_say_that_it_exists() -> None:
    """The vendor of /v1/mj/submit/action documents it so."""
    body = answer(code=21, description="Task already exists", result="5", properties={"status": "SUCCESS"})
    assert classify("action", 200, body).outcome is Outcome.EXISTED


@pytest.mark.parametrize(
    "extra", [{"description": "Waiting for window confirm"}, {"properties": {"remix": True}}]
)
def test_21_rewritten_to_1_is_still_a_window(extra: dict[str, Any]) -> None:
    """new-api rewrites all but Inpaint and CustomZoom."""
    assert classify("action", 200, answer(code=1, result="5", **extra)).outcome is Outcome.NEEDS_MODAL


def test_22_without_a_task_is_uncertain_as_1_is() -> None:
    """Nobody could follow it, and it would count among no jobs."""
    verdict = classify("imagine", 200, b'{"code":22,"description":"queued","result":null}')
    assert (verdict.outcome, verdict.reason) == (Outcome.UNCERTAIN, "code 22 without a task id")


def test_22_rewritten_to_1_is_still_queued() -> None:
    """new-api again: the description and numberOfQueues stay."""
    body = answer(code=1, description="In queue, there are 3 tasks ahead", result="5")
    assert classify("imagine", 200, body).outcome is Outcome.QUEUED


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, answer(code=23, description="队列已满", result=None)),
        (400, answer(code=23, description="queue full ", type="upstream_error")),
        (200, answer(code=9, description="提交失败，队列已满，请稍后重试")),
        (429, answer(code=30, description="当前分组负载已饱和")),
        (429, b""),
        (200, answer(code="23", description="full")),
    ],
)
def test_a_full_queue_is_told_in_many_ways(status: int, body: bytes) -> None:
    """23, trueai's 9, new-api's 429 with 30, an empty 429, the code as a string."""
    verdict = classify("action", status, body)
    assert (verdict.outcome, verdict.refusal) == (Outcome.REJECTED, Refusal.QUEUE_FULL)


def test_9_without_words_of_a_queue_is_a_failure() -> None:
    """novicezk's and Plus's general failure."""
    verdict = classify("imagine", 200, answer(code=9, description="提交失败，系统异常"))
    assert verdict.refusal is Refusal.FINAL


@pytest.mark.parametrize("code", [3, 4])
def test_3_and_4_pass_after_a_while_where_there_is_a_parent(code: int) -> None:
    """A press right after SUCCESS; an empty prompt stays empty."""
    body = answer(code=code, description="关联任务状态错误", result=None)
    assert classify("action", 200, body).refusal is Refusal.STALE_PARENT
    assert classify("imagine", 200, body).refusal is Refusal.FINAL


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"Internal Server Error"),
        (502, b"<html>Bad Gateway</html>"),
        (504, b""),
        (200, b""),
        (200, b"<!DOCTYPE html>"),
        (500, answer(timestamp="x", status=500, error="Internal Server Error")),
        (200, answer(code=1, description="ok", result=None)),
        (200, answer(code=21, description="window", result=None)),
        (408, b""),
        (400, answer(code=5, description="do_request_failed", type="upstream_error")),
    ],
)
def test_what_does_not_say_no_is_uncertain(status: int, body: bytes) -> None:
    """Sending it again could be paid twice."""
    assert classify("action", status, body).outcome is Outcome.UNCERTAIN


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "success", "data": "5"},
        {"code": "success", "data": {"task_id": "task_5"}},
        {"code": 201, "data": [{"status": "submitted", "task_id": "5"}]},
        {"code": 2, "result": "5"},
        {"code": "SUCCESS", "taskId": 5},
    ],
)
def test_a_task_with_an_unknown_code_may_be_a_yes(fields: dict[str, Any]) -> None:
    """Sent again it would be paid for again; with an HTTP status that says no it is a no."""
    assert classify("action", 200, answer(**fields)).outcome is Outcome.UNCERTAIN
    assert classify("action", 400, answer(**fields)).refusal is Refusal.FINAL


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "system_curfew", "description": "closed at night", "data": None},
        {"code": "error", "data": "try it later, in 5 minutes"},
        {"code": 500, "msg": "<exception message>", "taskId": None, "data": [], "ban-words": ""},
        {"code": 24, "description": "banned", "result": "5"},
        {"code": -1, "success": False, "message": "too long", "data": "5"},
    ],
)
def test_a_refusal_stays_one_whatever_its_code(fields: dict[str, Any]) -> None:
    """Without a task, or with a code that is known to say no."""
    assert classify("imagine", 200, answer(**fields)).refusal is Refusal.FINAL


@pytest.mark.parametrize(
    ("status", "body"), [(401, b""), (403, b"forbidden"), (401, answer(error=True, msg="empty"))]
)
def test_a_refused_key_waits_for_a_person(status: int, body: bytes) -> None:
    """novicezk answers 401 without a body."""
    assert classify("imagine", status, body).refusal is Refusal.AUTH


def test_the_answer_of_a_bookmark_is_its_parent() -> None:
    """trueai answers 1 with the pressed task's own id; what that means is decided where the parent is known."""
    assert classify("action", 200, answer(code=1, result="parent")).ids == ("parent",)


@pytest.mark.parametrize("kind", ["imagine", "action", "change", "modal"])
@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"{}", b"1", b'"x"', b"\xff", b"{", b'{"code":{}}', b'{"code":1.5}']
)
def test_nothing_is_ever_raised(kind: Any, body: bytes) -> None:
    """Whatever an upstream answers."""
    assert classify(kind, 200, body).outcome is Outcome.UNCERTAIN


def test_a_relay_without_a_channel_has_sent_nothing() -> None:
    """HTTP 503 in OpenAI's shape: it says itself that no channel was found; the words are kept."""
    body = b'{"error":{"message":"no channel for mj_upload","type":"new_api_error","code":"model_not_found"}}'
    verdict = classify("imagine", 503, body)
    assert (verdict.outcome, verdict.refusal) == (Outcome.REJECTED, Refusal.FINAL)
    assert "no channel for mj_upload" in verdict.reason


def test_an_empty_403_is_a_rate_limit() -> None:
    """trueai v11; its authentication failures have words."""
    assert classify("imagine", 403, b"").refusal is Refusal.QUEUE_FULL
    assert classify("imagine", 403, b"Invalid token.").refusal is Refusal.AUTH
