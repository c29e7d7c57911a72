"""An honest sender as a process: `python honest.py PORT HOOK SECONDS PATIENCE_S NAME`. Standard library only.

It posts callbacks one after the other, half of them on a new connection as senders without a pool do, never twice the same, and
prints a JSON object: how each was answered, the ids of those that were acknowledged, and how long they took.
"""

from __future__ import annotations

import http.client
import json
import sys
import time

PAUSE_S = 0.02


def main() -> None:
    """Send until the time is over."""
    port, hook, seconds, patience_s, name = sys.argv[1:]
    took: list[float] = []
    kept: list[str] = []
    refused: list[str] = []
    ends_at = time.monotonic() + float(seconds)
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=float(patience_s))
    while time.monotonic() < ends_at:
        task_id = f"{name}-{len(took)}"
        body = json.dumps({"id": task_id, "status": "IN_PROGRESS", "progress": "50%", "action": "IMAGINE"})
        if len(took) % 2:
            connection.close()
        began = time.monotonic()
        try:
            connection.request("POST", hook, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                kept.append(task_id)
            else:
                refused.append(f"{task_id}: {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            refused.append(f"{task_id}: {error!r}")
            connection.close()
        took.append(time.monotonic() - began)
        time.sleep(PAUSE_S)
    took.sort()
    p99_ms = took[int(len(took) * 0.99)] * 1000
    print(
        json.dumps(
            {
                "sent": len(took),
                "kept": kept,
                "refused": refused,
                "p99_ms": p99_ms,
                "worst_ms": took[-1] * 1000,
            }
        )
    )


if __name__ == "__main__":
    main()
