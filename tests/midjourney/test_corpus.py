"""Every recorded payload is understood, whichever implementation sent it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from midjourney.codes import Outcome, classify
from midjourney.decode import decode_task
from midjourney.errors import Undecodable
from midjourney.lists import decode_list
from midjourney.types import Status, canonical_status

CORPUS = Path(__file__).parent.parent / "corpus"
SAMPLES = json.loads((CORPUS / "index.json").read_text())["samples"]

# Kinds of samples that answer a submit, and what they mean. Those that mean something else are listed by name.
MEANINGS = {
    "submit_ok": Outcome.ACCEPTED,
    "submit_queued": Outcome.QUEUED,
    "submit_21_modal": Outcome.NEEDS_MODAL,
    "submit_21_existed": Outcome.EXISTED,
    "submit_error": Outcome.REJECTED,
    "http_error": Outcome.REJECTED,
    "upload": Outcome.ACCEPTED,
    "seed": Outcome.ACCEPTED,
}
EXCEPTIONS = {
    "mc-fetch-html-200.json": Outcome.UNCERTAIN,  # a page with 200 says nothing about the job
    "newapi-doc-bogus-action-openai-shape.json": Outcome.UNCERTAIN,  # 200 in a foreign shape neither
    "newapi-error-do-request-failed.json": Outcome.UNCERTAIN,  # its own upstream may have accepted
    "trueai-fetch-unknown-204.json": Outcome.UNCERTAIN,  # nothing at all
}
HTTP_STATUS = {
    "chatany-access-code-401.json": 401,
    "newapi-error-do-request-failed.json": 400,
    "newapi-error-task-no-found.json": 400,
    "trueai-constructed-action-unknown-task.json": 404,
}
NO_TASKS = {"newapi-doc-mj-self.json", "trueai-test-task-list.json"}
"""Those with too little of the family's spelling for a task in a wrapper. Another list of one is read as a callback too."""


def samples(*kinds: str) -> list[Any]:
    return [pytest.param(sample, id=sample["file"]) for sample in SAMPLES if sample["kind"] in kinds]


def answer_of(sample: dict[str, Any]) -> tuple[int, bytes]:
    """HTTP status and body of a sample; some are wrapped since they are no JSON."""
    body = (CORPUS / sample["file"]).read_bytes()
    wrapped = json.loads(body)
    if isinstance(wrapped, dict) and "_wrapper" in wrapped:
        return wrapped["http_status"], wrapped["body"].encode()
    return HTTP_STATUS.get(sample["file"], 200), body


def test_the_corpus_is_whole() -> None:
    """84 samples, each with its file."""
    assert len(SAMPLES) == 84
    assert {sample["file"] for sample in SAMPLES} | {"index.json"} == {path.name for path in CORPUS.iterdir()}


@pytest.mark.parametrize("sample", samples("callback", "fetch", "list"))
def test_a_task_keeps_its_id_status_and_bytes(sample: dict[str, Any]) -> None:
    """A task payload decodes to its own id and status; a list, or another product's answer, is no task."""
    body = (CORPUS / sample["file"]).read_bytes()
    if sample["file"] in NO_TASKS:
        with pytest.raises(Undecodable):
            decode_task(body)
        return
    sent = json.loads(body)
    (sent,) = sent if isinstance(sent, list) else [sent]
    task = decode_task(body)
    assert task.id == sent["id"]
    assert task.status == canonical_status(sent["status"])
    assert task.status == (sent["status"] or Status.NOT_START)
    assert task.raw == body


@pytest.mark.parametrize("sample", samples("list"))
def test_a_list_gives_its_tasks(sample: dict[str, Any]) -> None:
    """The answers of list-by-condition; new-api's own log has other fields and gives none."""
    body = (CORPUS / sample["file"]).read_bytes()
    if sample["file"] == "newapi-doc-mj-self.json":
        with pytest.raises(Undecodable):
            decode_list(body)
        return
    assert [task.id for task in decode_list(body).tasks] == [entry["id"] for entry in json.loads(body)]


@pytest.mark.parametrize("sample", samples(*MEANINGS))
def test_an_answer_is_classified(sample: dict[str, Any]) -> None:
    """Each answer to a submit means what its implementation meant by it."""
    status, body = answer_of(sample)
    kind: Any = "change" if sample["kind"] == "submit_21_existed" else "action"
    verdict = classify(kind, status, body)
    assert verdict.outcome == EXCEPTIONS.get(sample["file"], MEANINGS[sample["kind"]]), verdict
    if verdict.outcome in (Outcome.ACCEPTED, Outcome.QUEUED, Outcome.NEEDS_MODAL, Outcome.EXISTED):
        assert verdict.ids
