"""Counts what the server refused or closed, for the metrics, and logs a line for each reason, at growing intervals."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
import structlog

log = structlog.get_logger("hookchain")

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
"""Time between two log lines about one reason: a minute, then twice as long each time, at most an hour."""

_LONGEST_DETAIL = 200

Shed = Literal["too_many", "too_much_memory"]
"""Why a connection was closed although it broke no rule."""

Refused = Literal["invalid", "head_too_large", "head_too_slow", "body_too_slow", "answer_not_taken"]
"""Why a request was refused, or its response abandoned."""

CURES: dict[Shed | Refused, str] = {
    "too_many": "More clients connected than the limits allow; hookchain closed the connections that were idle longest. If these are "
    "your own clients, raise the limit of open files (`ulimit -n`, `LimitNOFILE=` in systemd, `--ulimit nofile=` in Docker). If "
    "not, limit connections per address in a reverse proxy or firewall in front of hookchain.",
    "too_much_memory": "Clients sent more than hookchain could process, or did not read its responses; hookchain closed the "
    "connections that held most. Limit connections per address in a reverse proxy or firewall in front of hookchain.",
    "invalid": "A request was not valid HTTP/1.1 and got 400. Strangers who scan the internet send such requests; if your own "
    "client sent it, correct the client.",
    "head_too_large": "The URL and headers of a request were too large (32 kB, 200 lines) and it got 431. If your own client sent it, "
    "shorten its cookies and headers.",
    "head_too_slow": "The URL and headers of a request did not arrive within 10 s and it got 408. If your own client sent it, check the "
    "network in between.",
    "body_too_slow": "The body of a request arrived too slowly and it got 408. If your own client sent it, check the network in "
    "between.",
    "answer_not_taken": "A client read nothing of its response for 30 s and was disconnected. If it is your own client, check the "
    "network in between.",
}
"""What happened, and what to do about it."""


class _LogThrottle(msgspec.Struct):
    """When the next log line about one reason is due, and what has happened since the last one."""

    count: int = 0
    detail: str = ""
    silent_until_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S


class Tally:
    """Counters since the start of the process."""

    def __init__(self) -> None:
        self.shed: dict[Shed, int] = dict.fromkeys(get_args(Shed), 0)
        self.refused: dict[Refused, int] = dict.fromkeys(get_args(Refused), 0)
        self.upgrades_ignored = 0
        self._throttles: dict[Shed | Refused, _LogThrottle] = {}

    def count_shed(self, why: Shed, count: int) -> None:
        """Count connections that were closed to make room."""
        self.shed[why] += count
        self._note(why, count, "")

    def count_refused(self, why: Refused, detail: str) -> None:
        """Count a request that was refused."""
        self.refused[why] += 1
        self._note(why, 1, detail)

    def count_upgrade(self, offered: str) -> None:
        """Count an ignored offer to upgrade. Only the first one is logged: some clients send an offer with each request."""
        if not self.upgrades_ignored:
            log.info("offers to upgrade the protocol are ignored", offered=offered[:_LONGEST_DETAIL])
        self.upgrades_ignored += 1

    def _note(self, why: Shed | Refused, count: int, detail: str) -> None:
        throttle = self._throttles.setdefault(why, _LogThrottle())
        throttle.count += count
        throttle.detail = detail[:_LONGEST_DETAIL]

    def write_log(self, now_s: float) -> None:
        """Write the log lines that are due. `now_s` is by a clock that cannot step."""
        for why, throttle in self._throttles.items():
            if not throttle.count or now_s < throttle.silent_until_s:
                continue
            if now_s > throttle.silent_until_s + LONGEST_PAUSE_S:
                throttle.pause_s = FIRST_PAUSE_S
            event = "connections closed to make room" if why in self.shed else "requests refused"
            detail = {"detail": throttle.detail} if throttle.detail else {}
            log.warning(event, why=why, count=throttle.count, **detail, what_to_do=CURES[why])
            throttle.count, throttle.silent_until_s = 0, now_s + throttle.pause_s
            throttle.pause_s = min(2 * throttle.pause_s, LONGEST_PAUSE_S)
