"""The statements by which a person retries or edits submissions, and the conditions under which that is safe."""

from __future__ import annotations

from storage.driver.statements import Query
from storage.duty.sql import retry_of
from storage.records import INTERRUPTED, MODAL_LOST

_HAS_TASK = "EXISTS (SELECT 1 FROM tasks AS child WHERE child.submission_id = submissions.id)"
# A press whose modal was lost can be repeated: an unanswered or lost modal costs nothing.
_HAS_PAID_TASK = """
    EXISTS (
        SELECT 1 FROM tasks AS child
        WHERE child.submission_id = submissions.id AND child.status NOT IN ('MODAL', 'LOST')
    )
    """
# The answer to a modal continues under the modal's own id.
_WAS_ANSWERED = """
    submissions.kind = 'modal' AND EXISTS (
        SELECT 1 FROM tasks AS its_modal
        WHERE its_modal.upstream = submissions.upstream AND its_modal.id = submissions.parent_id
          AND its_modal.status NOT IN ('', 'NOT_START', 'MODAL', 'LOST')
    )
    """
_WAS_LEFT_OPEN = f"""
    EXISTS (
        SELECT 1 FROM attempts
        WHERE attempts.submission_id = submissions.id
          AND attempts.outcome IN ('sending', 'uncertain', '{INTERRUPTED}')
    )
    """

# Another account has the order since, or its client was told that nothing will be charged.
_IS_OURS_TO_SEND = "outcome NOT IN ('moved', 'withdrawn')"

RETRY = retry_of(
    "submissions",
    str,
    "outcome = '', reason = :reason, terms = NULL",
    f"{_IS_OURS_TO_SEND} AND NOT {_HAS_PAID_TASK} AND NOT ({_WAS_ANSWERED})",
)
"""Requeues those that have made no task, whatever their answers said."""

EDIT = retry_of(
    "submissions",
    str,
    "outcome = '', reason = :reason, terms = NULL, request = :request",
    f"{_IS_OURS_TO_SEND} AND outcome <> '{MODAL_LOST}' AND NOT {_HAS_TASK} AND NOT ({_WAS_ANSWERED}) AND NOT {_WAS_LEFT_OPEN}",
)
"""Requeues one with another request, if each of its attempts has ended, and none shows that the upstream took it."""

PRESSED_AGAIN = retry_of(
    "submissions",
    str,
    "outcome = '', reason = :reason, terms = NULL, asked_by = :asked_by",
    f"outcome = 'dropped' AND NOT {_HAS_TASK} AND NOT ({_WAS_ANSWERED}) AND NOT {_WAS_LEFT_OPEN}",
)
"""Requeues one that was dropped, because a person asks for the same: only if nothing shows, or may show, that the upstream took it."""

ANSWERED = Query(f"SELECT id FROM submissions WHERE id = :id AND {_WAS_ANSWERED}", str)
