"""What must not be changed without a test that notices: each row breaks one promise on purpose.

A list by hand, and no tool that changes whatever it finds. Most of these rules are SQL statements, built at the top of a
module, which mutmut 3 does not change (it mutates functions only); and a row names the behaviour, and the tests that are
its specification. A row whose text is gone is an error: write what its rule looks like now.
"""

from __future__ import annotations

from tests.mutants.mutant import rows

BUDGET = rows(
    "dispatcher/policy/chain_budget.py",
    ("tests/dispatcher/test_budget.py",),
    ("depth limit off by one, low", "staged.depth > budget.depth", "staged.depth >= budget.depth"),
    ("depth limit off by one, high", "staged.depth > budget.depth", "staged.depth > budget.depth + 1"),
    (
        "chain limit off by one",
        "use.submissions >= budget.submissions",
        "use.submissions > budget.submissions",
    ),
    (
        "rule limit off by one",
        "use.by_same_receiver >= budget.per_rule",
        "use.by_same_receiver > budget.per_rule",
    ),
    ("hourly limit off by one", "use.last_hour >= budget.per_hour", "use.last_hour > budget.per_hour"),
    ("people held to the budget", "if staged.is_by_hand:", "if False:"),
)

JOINS = [
    *rows(
        "storage/joins/rest.py",
        ("tests/storage/test_joins.py",),
        ("an event that is not fanned out blocks nothing", 'one.name == "" or may_request', "may_request"),
        (
            "receivers of a rest block the next one",
            'one.what == "work" and one.state != RESTED',
            'one.what == "work"',
        ),
    ),
    *rows(
        "storage/joins/looking.py",
        ("tests/storage/test_joins.py",),
        ("the same ends give the signal again", 'digest in ("", mark.shown)', 'digest == ""'),
        ("a restored copy gives joins", "restores.find(connection, about.upstream) is not None", "False"),
    ),
    *rows(
        "storage/joins/follows.py",
        ("tests/storage/test_joins.py",),
        ("what a rest requests gives a second rest", "return signal in follows.split()", "return False"),
    ),
    *rows(
        "storage/joins/sql.py",
        ("tests/dispatcher/test_joins.py",),
        (
            "an end that only a callback reported counts",
            "(confirmed OR status IN ('LOST', 'REFUTED'))",
            "TRUE",
        ),
    ),
]

COUNTS = [
    *rows(
        "storage/submissions/hourly.py",
        ("tests/storage/test_fences.py", "tests/storage/test_hourly.py"),
        ("hour longer than an hour", "since_ms=now_ms - HOUR_MS", "since_ms=now_ms - HOUR_MS - 1"),
        ("what was staged since the count is not counted", "count.most += 1", "count.most += 0"),
        ("the count of a later hour serves an earlier one", "not count.at_ms <= now_ms <", "not now_ms <"),
        ("a count lasts for ever", "< count.at_ms + lasts_ms", "< count.at_ms + 10**15"),
        ("the number that is far from the limit is the last count", "count.most + NEAR", "count.most"),
    ),
    *rows(
        "storage/submissions/staging.py",
        ("tests/storage/test_submissions.py",),
        (
            "a chain's submissions are not counted",
            "for one in stored if one.result.created",
            "for one in stored if False",
        ),
    ),
    *rows(
        "storage/submissions/intents.py",
        ("tests/storage/test_together.py",),
        (
            "what is staged together does not count towards the chain's limit",
            "self._automatic[staged.chain_id] += not staged.is_by_hand",
            "self._automatic[staged.chain_id] += 0",
        ),
        (
            "what is staged together does not count towards the rule's limit",
            "self._by_receiver[staged.chain_id, staged.asked_by] += 1",
            "self._by_receiver[staged.chain_id, staged.asked_by] += 0",
        ),
        (
            "what is staged together has one place in the queue",
            "self._waiting[staged.chain_id] += 1",
            "self._waiting[staged.chain_id] += 0",
        ),
        (
            "a thing is pressed twice if it is requested twice at once",
            "return not self._noted.isdisjoint(identities(staged))",
            "return staged.idempotency_key in self._noted",
        ),
    ),
    *rows(
        "storage/submissions/staging.py",
        ("tests/storage/test_together.py",),
        (
            "what is staged together does not count towards the hour's limit",
            "is_exact=not new)",
            "is_exact=True)",
        ),
    ),
    *rows(
        "storage/submissions/sql.py",
        ("tests/storage/test_fences.py",),
        (
            "hourly limit counts refused ones",
            "AND substr(asked_by, 1, 7) <> 'person:' AND state <> 'refused'",
            "AND substr(asked_by, 1, 7) <> 'person:'",
        ),
    ),
    *rows(
        "storage/submissions/releases.py",
        ("tests/storage/test_submissions.py",),
        ("a released submission is not sent", 'by="release",', 'by="retry",'),
    ),
    *rows(
        "storage/submissions/intents.py",
        ("tests/storage/test_many_writers.py",),
        (
            "a chain is not locked before it is counted",
            "        locks.chains(connection, chain_ids)\n",
            "",
        ),
    ),
    *rows(
        "storage/deliveries/firings.py",
        ("tests/storage/test_firings.py", "tests/storage/test_many_writers.py"),
        ("a rule fires once too often", "scope=scope, most=limit.most)", "scope=scope, most=limit.most + 1)"),
    ),
]

ONCE = [
    *rows(
        "storage/submissions/staging.py",
        ("tests/storage/test_submissions.py",),
        (
            "an intent is not looked for before it is staged",
            "if (row := intents.submission_of(one)) is not None:",
            "if (row := None) is not None:",
            "the unique index finds it all the same; the look before it spares the work",
        ),
        (
            "an intent has several submissions",
            '        "id": submission_id,\n',
            '        "id": submission_id, "idempotency_key": submission_id,\n',
        ),
    ),
    *rows(
        "storage/payloads.py",
        ("tests/storage/test_payloads.py", "tests/storage/test_packing.py"),
        (
            "a payload like a packed value is stored as it is",
            "return _packed(payload) if _is_packed(payload) else payload",
            "return payload",
        ),
        (
            "what is packed is packed again",
            "if len(stored) < SHORTEST or _is_packed(stored):",
            "if len(stored) < SHORTEST:",
        ),
        ("half a payload counts as a whole one", "if not stream.eof or stream.unused_data:", "if False:"),
    ),
    *rows(
        "storage/events/packing.py",
        ("tests/storage/test_packing.py",),
        ("an event gets the payload of a deleted one", "if row.payload == stored:", "if True:"),
        ("a young event is packed", "if event.received_at_ms >= before_ms:", "if False:"),
        ("a batch is stored twice", "if _packed_to(connection) != batch.after:", "if False:"),
    ),
    *rows(
        "storage/submissions/staging.py",
        ("tests/dispatcher/test_prune.py",),
        (
            "what was paid for is forgotten with its chain",
            "if (spent := intents.spent_by(one)) is not None:",
            "if (spent := None) is not None:",
        ),
    ),
    *rows(
        "storage/ended_chains.py",
        ("tests/dispatcher/test_prune.py",),
        ("keys go with their chain", "    sql.KEEP_KEYS(connection, ids=ids)\n", ""),
        (
            "a chain goes although a client waits for a part of it",
            "    if sql.OPEN_TICKET.first(connection, chain_id=chain_id) is not None:\n        return False\n",
            "",
        ),
        (
            "a chain goes although an order has just joined it",
            '    if sql.OPEN_TICKET.first(connection, chain_id=chain_id) is not None:\n        return "kept", rows\n',
            "",
        ),
    ),
    *rows(
        "storage/deliveries/chain_stores.py",
        ("tests/storage/test_chain_stores.py",),
        (
            "of two runs at once, the later one overwrites what the other kept",
            "is_late = change is not None and newest.get(change.chain_id, 0) != change.before",
            "is_late = False",
        ),
        (
            "of two runs that end in one transaction, both are kept",
            "            newest[change.chain_id] = change.before + 1\n",
            "            pass\n",
        ),
        (
            "two processes compare versions at the same moment",
            "    locks.chains(connection, chain_ids)\n",
            "",
        ),
    ),
    *rows(
        "storage/deliveries/endings.py",
        ("tests/storage/test_chain_stores.py",),
        (
            "a run beyond its limit keeps what it put into the store",
            "staged=(), fired=False, store=None)",
            "staged=(), fired=False)",
        ),
    ),
]

BACKOFF = [
    *rows(
        "dispatcher/policy/backoff.py",
        ("tests/dispatcher/test_backoff.py",),
        ("backoff off by one, long", "min(attempt - 1, 60)", "min(attempt, 60)"),
        ("backoff off by one, short", "min(attempt - 1, 60)", "min(attempt - 2, 60)"),
        ("backoff without a ceiling", ", ceiling_s)", ", 1e9)"),
        ("backoff without jitter", "0.4 * luck", "0.2"),
    ),
    *rows(
        "dispatcher/policy/outcomes.py",
        ("tests/dispatcher/test_backoff.py",),
        (
            "what did not leave waits twice as long",
            "jittered_ms(delay_s(submission.tries), luck",
            "jittered_ms(delay_s(submission.tries + 1), luck",
        ),
    ),
    *rows(
        "dispatcher/policy/run_endings.py",
        ("tests/dispatcher/test_backoff.py",),
        (
            "a receiver waits twice as long",
            "delay_s(delivery.tries), luck",
            "delay_s(delivery.tries + 1), luck",
        ),
    ),
]

FENCES = [
    *rows(
        "storage/duty/sql.py",
        ("tests/storage/test_fences.py",),
        (
            "an attempt ends whatever the state of its row",
            "          AND state IN (:before)\n",
            "          AND (state IN (:before)) IS NOT NULL\n",
        ),
        (
            "an older attempt ends a row",
            "attempts = CAST(attempt AS INTEGER)",
            "attempts >= CAST(attempt AS INTEGER)",
        ),
        ("a claim is no new attempt", "attempts = attempts + 1", "attempts = attempts"),
    ),
    *rows(
        "storage/deliveries/endings.py",
        ("tests/storage/test_fencing.py", "tests/storage/test_together.py"),
        ("a lost lease is not noticed", "    if isinstance(result, LeaseLost):\n", "    if False:\n"),
        (
            "what a run requested is staged though its lease is lost",
            "if run.claimed.delivery.id in ended]\n    if",
            "]\n    if",
        ),
    ),
    *rows(
        "storage/submissions/settlements.py",
        ("tests/storage/test_fencing.py", "tests/storage/test_together.py"),
        (
            "an answer to an older attempt settles its submission",
            "if one.submission.id not in finished:",
            "if False:",
        ),
        (
            "an attempt that has ended is settled again",
            "current = [one for one in answered if one.submission.id in ended]",
            "current = [one for one in answered]",
        ),
    ),
    *rows(
        "storage/duty/sql.py",
        ("tests/storage/test_suspects.py",),
        ("what was given back counts as a try", "{excused} = {excused} + 1", "{excused} = {excused} + 0"),
    ),
    *rows(
        "storage/duty/sql.py",
        ("tests/storage/test_fencing.py",),
        ("a retried dead letter has no tries left", "forgiven = attempts", "forgiven = forgiven"),
    ),
    *rows(
        "storage/deliveries/sql.py",
        ("tests/storage/test_fences.py",),
        (
            "deliveries by age, not by due time",
            "ORDER BY deliveries.run_at_ms, deliveries.id",
            "ORDER BY deliveries.id",
        ),
        (
            "deliveries before they are due",
            "deliveries.run_at_ms <= :now_ms",
            "deliveries.run_at_ms <= :now_ms + 1000",
        ),
    ),
    *rows(
        "storage/submissions/lanes.py",
        ("tests/storage/test_fences.py",),
        ("lane order without the due time", " AND other.run_at_ms <= :now_ms", ""),
        ("a lane with two under way", "other.state = 'sending'", "other.state = 'nothing'"),
    ),
    *rows(
        "storage/submissions/sql.py",
        ("tests/dispatcher/test_scheduled.py",),
        (
            "what is due is sent before whoever scheduled it has been asked",
            "(submissions.terms IS NULL OR (",
            "(TRUE OR (",
        ),
    ),
    *rows(
        "dispatcher/policy/occurrences.py",
        ("tests/dispatcher/test_clock_rules_late.py",),
        (
            "what waits is sent although the rule's next time has come",
            "if next_ms(at, occurrence_ms) <= occurrence_ms + late_ms:",
            "if at is None:",
        ),
        ("what has waited for hours is sent", "late_ms > LATE_MS", "late_ms > 9 * LATE_MS"),
    ),
    *rows(
        "dispatcher/plugins/scheduled.py",
        ("tests/dispatcher/test_clock_rules_late.py",),
        (
            "an approval that takes hours makes late",
            "max(self.asked_ms, self.approved_ms)",
            "self.asked_ms",
        ),
        ("a long delay makes late", "self.approved_ms) - self.delay_ms", "self.approved_ms)"),
    ),
    *rows(
        "dispatcher/loops/strike.py",
        ("tests/dispatcher/test_clock_rules_late.py",),
        (
            "while an upstream is down times come",
            "possible_ms(standing.open_until_ms, now_ms, standing.open_ms) > now_ms",
            "now_ms < 0",
        ),
    ),
    *rows(
        "storage/tickets/withdrawing.py",
        ("tests/dispatcher/test_scheduled.py",),
        (
            "an answer about old terms drops what a person took over",
            "if terms and not scheduled.has_terms(",
            "if not terms and not scheduled.has_terms(",
        ),
    ),
    *rows(
        "storage/submissions/sql.py",
        ("tests/dispatcher/test_membership.py",),
        (
            "evidence of one attempt counts for the next",
            "OR attempts = :attempts)",
            "OR attempts >= :attempts)",
        ),
    ),
    *rows(
        "dispatcher/loops/heartbeat.py",
        ("tests/dispatcher/test_membership.py",),
        ("the lease margin is dropped", "+ TTL_MS / 1000 - MARGIN_S", "+ TTL_MS / 1000"),
        ("sends after its lease", "return uptime_s() < self._may_send_until_s", "return True"),
    ),
]

KEPT = [
    *rows(
        "storage/sql_pruning.py",
        ("tests/storage/test_fences.py",),
        (
            "events of deliveries that fired go",
            "(deliveries.state <> 'done' OR deliveries.fired)",
            "deliveries.state <> 'done'",
        ),
    ),
    *rows(
        "storage/driver/sqlite.py",
        ("tests/storage/test_durability.py",),
        ("SQLite does not wait for the disk", 'SYNCHRONOUS = "FULL"', 'SYNCHRONOUS = "NORMAL"'),
        (
            "SQLite is not told to wait",
            '        cursor.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")\n',
            '        cursor.execute("PRAGMA synchronous = NORMAL")\n',
        ),
    ),
    *rows(
        "storage/driver/postgres.py",
        ("tests/storage/test_standby.py",),
        (
            "any of several hosts will do",
            '"target_session_attrs": "read-write"',
            '"target_session_attrs": "any"',
        ),
    ),
    *rows(
        "storage/driver/connection.py",
        ("tests/storage/test_standby.py",),
        ("a cancelled wait for the standby is a commit", "    if warnings:\n", "    if False:\n"),
        ("connections that wait for the standby stay", "driver.cancel_safe(timeout=CANCEL_S)", "pass"),
    ),
    *rows(
        "storage/driver/poolers.py",
        ("tests/storage/test_pgbouncer.py::test_nothing_is_prepared",),
        ("poolers are not recognised", "connection.info.backend_pid != server_pid if", "False if"),
    ),
    *rows(
        "storage/driver/postgres.py",
        ("tests/storage/test_pgbouncer.py::test_limits_hold_in_our_transactions_and_are_left_to_nobody",),
        ("no limits through a pooler", "        if not _may_keep_settings(driver):\n", "        if False:\n"),
        ("limits are left to others", "if _may_keep_settings(connection):", "if True:"),
    ),
]

LIMITS = [
    *rows(
        "dispatcher/policy/upstream_limits.py",
        ("tests/dispatcher/test_upstream_limits.py",),
        (
            "one request too many at once",
            "upstream.concurrency - load.requests",
            "upstream.concurrency - load.requests + 1",
        ),
        ("one job too many", "upstream.jobs - load.jobs", "upstream.jobs - load.jobs + 1"),
        ("a larger burst than the rate", "max(1, int(upstream.rate))", "max(1, int(upstream.rate) + 1)"),
        ("a paused upstream is sent to", "if standing.paused or closed_until_ms", "if closed_until_ms"),
        (
            "a hold is cut short",
            "max(possible_ms(standing.held_until_ms, now_ms, standing.held_ms), now_ms + for_ms)",
            "now_ms + for_ms",
        ),
        ("the breaker opens late", "failures < BREAKER_AFTER and", "failures <= BREAKER_AFTER and"),
        ("the breaker lets two through", "min(free, 1 - load.requests)", "min(free, 2 - load.requests)"),
        ("the breaker waits no longer each time", "min(2 * standing.open_ms or", "min(standing.open_ms or"),
    ),
    *rows(
        "dispatcher/policy/outcomes.py",
        ("tests/dispatcher/test_backoff.py",),
        ("one try too many", "submission.tries >= NOT_SENT_ATTEMPTS", "submission.tries > NOT_SENT_ATTEMPTS"),
    ),
    *rows(
        "dispatcher/policy/run_endings.py",
        ("tests/dispatcher/test_deliver.py",),
        (
            "one run too many",
            "if delivery.tries >= most_tries:",
            "if delivery.tries > most_tries:",
        ),
    ),
]

RESTORES = [
    *rows(
        "storage/upstreams/restores.py",
        ("tests/storage/test_server_identity.py",),
        ("a copy on another server is not noticed", "if not present or present == before:", "if True:"),
        ("a copy is checked at each start", "settings.keep(connection, _SERVER, present)", "pass"),
    ),
    *rows(
        "storage/upstreams/restores.py",
        (
            "tests/dispatcher/test_regressions.py::test_an_entry_that_cannot_be_read_keeps_a_restored_upstream_paused",
        ),
        (
            "a list that cannot be read ends a check",
            "is_list and is_whole and reaches",
            "is_list and reaches",
        ),
    ),
    *rows(
        "dispatcher/loops/restores.py",
        ("tests/promises/test_restores.py::test_a_start_waits_for_a_list_that_is_known_to_be_late",),
        ("a start does not wait for a late list", "if self._left[name] and late_s > 0:", "if False:"),
    ),
]

SWEEP = [
    *rows(
        "dispatcher/loops/sweep.py",
        ("tests/dispatcher/test_sweep.py::test_what_is_not_ours_or_not_news_is_left_alone",),
        (
            "a list that lies is believed",
            " or not has_registered_hook(report.task, tokens):",
            ":",
        ),
    ),
    *rows(
        "dispatcher/policy/sweeping.py",
        ("tests/dispatcher/test_sweep.py::test_what_is_not_ours_or_not_news_is_left_alone",),
        ("old tasks are news", "return ended_ms is not None and ended_ms >= since_ms", "return True"),
    ),
]

EVIDENCE = rows(
    "dispatcher/policy/submission_evidence.py",
    ("tests/dispatcher/test_submission_evidence.py",),
    ("sent again without end", "    if uncertain.times > most:", "    if False:"),
    (
        "the time of a request counts before it left",
        "    left_ms = uncertain_ms\n",
        "    left_ms = started_ms\n",
    ),
    ("lost once too often", "    if uncertain.times > most:", "    if uncertain.times > most + 1:"),
    ("a list that cannot be read as a whole disproves", "    if listing.unread:", "    if False:"),
    (
        "a list disproves while the request may be under way",
        "    if listing.asked_ms < ended_ms:",
        "    if False:",
    ),
    ("a list that does not reach back disproves", "listing.reaches_ms >= since_ms:", "False:"),
    ("a list without marks disproves", "habits.marks.get(submission.kind, False)):", "True):"),
    (
        "marks of one kind count for all",
        "listing.marks_of_kinds.get(submission.kind, habits",
        'listing.marks_of_kinds.get("imagine", habits',
    ),
    (
        "a task that may be the one does not matter",
        "    if stranger := listing.stranger_since(since_ms, submission.kind):",
        "    if stranger := None:",
    ),
    (
        "a list without a witness disproves",
        "    if not is_fresh and not _is_long_enough(listing, habits, ended_ms, idle_ms):",
        "    if False:",
    ),
    (
        "a witness from before the request's end will do",
        "listing.witness_ms >= ended_ms",
        "listing.witness_ms >= 0",
    ),
    (
        "a list that lacks a task of ours disproves",
        "    if missing := listing.lacks(submission.kind, since_ms - COMPLETE_FOR_MS, until_ms):",
        "    if missing := []:",
    ),
    (
        "the answer to a window is a witness",
        'if own.kind != "modal" and self.shows(own)]',
        "if self.shows(own)]",
    ),
    ("a task of an earlier attempt proves", "    if task.id in submission.task_ids:", "    if False:"),
    ("no time for a slow server", "    ended_ms = max(ended_ms, started_ms + 2 * slowest_ms)\n", ""),
    ("no time for a window", "(MODAL_MS if may_open_modal else 0)", "0"),
    (
        "a window that still waits proves its answer",
        'status not in ("", Status.MODAL, Status.NOT_START)',
        'status != ""',
    ),
)

RUNS = [
    *rows(
        "dispatcher/runs/verify.py",
        ("tests/dispatcher/test_verify.py::test_a_success_of_an_unknown_task_presses_nothing",),
        ("a refuted callback runs its receivers", "        if checked.refuted:\n", "        if False:\n"),
    ),
    *rows(
        "dispatcher/runs/call.py",
        ("tests/dispatcher/test_verify.py::test_a_button_that_a_plugin_writes_itself_is_not_pressed",),
        (
            "a button that the task does not have is pressed",
            "if verified.answer is not None and (",
            "if verified.answer is None and (",
        ),
    ),
    *rows(
        "dispatcher/loops/deliver.py",
        ("tests/dispatcher/test_deliver.py::test_an_end_that_cannot_be_kept_is_a_dead_letter",),
        (
            "a run stays running when the database refuses its end",
            "return await self._write(claimed, run_endings.unkept(ending, error))",
            "raise",
        ),
    ),
    *rows(
        "dispatcher/loops/submit.py",
        (
            "tests/dispatcher/test_submit.py::test_an_answer_that_the_database_refuses_leaves_its_submission_uncertain",
        ),
        (
            "an attempt stays sending when the database refuses its answer",
            'settlement = after_silence(f"the answer cannot be stored: {error}"[:500])',
            "raise",
        ),
    ),
    *rows(
        "dispatcher/policy/outcomes.py",
        ("tests/dispatcher/test_outcomes.py",),
        (
            "what may have arrived is sent again",
            "case NotSent() | NotDurable():",
            "case NotSent() | NotDurable() | NoAnswer():",
        ),
        ("a stale parent is never given up", "submission.tries < STALE_PARENT_ATTEMPTS", "True"),
        (
            "a wrong key is tried again",
            '            return "dead", 0',
            '            return "waiting", now_ms',
        ),
    ),
    *rows(
        "dispatcher/policy/queue_full.py",
        ("tests/dispatcher/test_outcomes.py",),
        ("a full queue is never given up", "tries >= ATTEMPTS", "False"),
    ),
]

FORGED = [
    *rows(
        "hooks/session.py",
        ("tests/hooks/test_cross_origin.py",),
        ("a cookie acts for an unknown sender", 'if sender == "unknown" and', "if False and"),
        ("a cookie acts for another origin", 'if sender == "other origin" and', "if False and"),
    ),
    *rows(
        "hooks/cross_origin.py",
        ("tests/hooks/test_cross_origin.py",),
        ("a sibling is the same origin", '("same-origin", "none")', '("same-origin", "none", "same-site")'),
        ("any origin is ours", "netloc_of(origin) in hosts", "True"),
    ),
]

OUTGOING = [
    *rows(
        "midjourney/transport/connection.py",
        ("tests/midjourney/transport/test_money.py",),
        ("a request leaves without leave", "            steps.leaving()\n", "            pass\n"),
        ("an ended connection is used", "return not self._readable.poll(0)", "return True"),
    ),
    *rows(
        "midjourney/transport/connection.py",
        ("tests/midjourney/transport/test_pool.py",),
        (
            "closing completes an answer",
            '            self._error = httpx.ReadError("the connection has been closed")',
            "            pass",
        ),
    ),
    *rows(
        "midjourney/transport/connection.py",
        ("tests/midjourney/transport/test_turns.py",),
        ("what nobody takes is read", "if self._is_held and not self._answers.parts:", "if self._is_held:"),
        ("libuv reads all there is in one turn", "            self._transport.pause_reading()\n", ""),
    ),
    *rows(
        "midjourney/transport/connection.py",
        ("tests/midjourney/transport/test_requests.py",),
        ("an answer before its request keeps the connection", "            and self._is_written\n", ""),
    ),
    *rows(
        "midjourney/transport/connection.py",
        ("tests/midjourney/transport/test_requests.py::test_a_long_request_waits_for_its_reader",),
        (
            "a long request is written at once",
            "            while not self._may_write and",
            "            while False and",
        ),
    ),
    *rows(
        "midjourney/transport/answers.py",
        ("tests/midjourney/transport/test_answers.py",),
        (
            "a forged answer is believed",
            "        if self.is_complete:\n            self.is_dirty = True\n\n    def on_header",
            "        pass\n\n    def on_header",
        ),
        ("a closed connection is kept", "self._parser.should_keep_alive() and", "True and"),
        (
            "half a body is a whole one",
            "        if self._ends_with_the_connection:",
            "        if self.status:",
        ),
        ("trailers are headers", "if not self.status and not self.is_dirty:", "if True:"),
    ),
    *rows(
        "midjourney/transport/pool.py",
        ("tests/midjourney/transport/test_pool.py::test_no_more_connections_than_allowed",),
        ("there is no bound on connections", "self._used >= self._most:", "False:"),
    ),
    *rows(
        "midjourney/transport/pool.py",
        ("tests/midjourney/transport/test_pool.py",),
        (
            "a slot that comes too late is lost",
            "                self._free()  # it came",
            "                pass  # it came",
        ),
        (
            "the oldest connection is used first",
            "range(len(self._idle) - 1, -1, -1)",
            "range(len(self._idle))",
        ),
        ("too many idle connections are kept", "len(self._idle) < self._most_idle", "True"),
    ),
    *rows(
        "midjourney/transport/fast.py",
        ("tests/midjourney/transport/test_requests.py",),
        ("a header can hold another", 'head.count(b"\\n") != len(lines)', "False"),
        ("a length can lie", 'if declared != b"%d" % body_bytes:', "if False:"),
    ),
]

GATEWAY = [
    *rows(
        "dispatcher/tickets/presses.py",
        ("tests/promises/test_gateway_orders.py",),
        ("each press of an upscale is paid", 'if button.kind != "upscale":', "if True:"),
    ),
    *rows(
        "dispatcher/tickets/ordering.py",
        ("tests/promises/test_gateway_orders.py",),
        (
            "a key of a client may come with another body",
            "if first is not None and first.digest != order.digest:",
            "if False:",
        ),
        (
            "an order whose answer was cut off is taken again",
            "return tickets.unanswered(connection, client.name, order.digest, now_ms)",
            "return None",
        ),
    ),
    *rows(
        "dispatcher/tickets/presses.py",
        ("tests/promises/test_gateway_windows.py",),
        (
            "a window that nobody may ever answer is opened at the upstream",
            'if isinstance(request, Action) and opens_window(button) and dialect.has("modal"):',
            "if False:",
        ),
    ),
    *rows(
        "dispatcher/tickets/window_orders.py",
        ("tests/promises/test_gateway_windows.py",),
        ("a window takes two answers", "if not ticket.is_window:", "if False:"),
    ),
    *rows(
        "hooks/gateway/gateway.py",
        ("tests/promises/test_gateway_orders.py",),
        (
            "no receipt is kept of an answer that was written",
            "self._submits.receipts.written(client.name, order.digest, placed.ticket.id)",
            "pass",
        ),
        (
            "an answer is noted as written although the client has gone",
            "is_heard = not is_gone and not _has_hung_up(scope)",
            "is_heard = True",
        ),
    ),
    *rows(
        "storage/tickets/tickets.py",
        ("tests/promises/test_gateway_isolation.py",),
        (
            "a client reads tasks of another",
            "return bool(owners) or began != client",
            "return began != client",
        ),
        (
            "a client reads what rules made of another's",
            "return bool(owners) or began != client",
            "return bool(owners)",
        ),
    ),
    *rows(
        "hooks/dashboard/tickets.py",
        ("tests/hooks/dashboard/test_clients.py",),
        ("the page of a ticket retries messages of another", "return is_own and work(", "return work("),
    ),
]

SLIPS = [
    *rows(
        "dispatcher/plugins/slips.py",
        ("tests/dispatcher/test_slips.py",),
        (
            "an unknown option is ignored",
            "unknown_option(options) or invalid_option(options)",
            "invalid_option(options)",
        ),
        ("a list of buttons is a button", "if isinstance(button, list | tuple | set):", "if False:"),
        (
            "a zoom loses its factor",
            "if factor and isinstance(press, Action) else press",
            "if False else press",
        ),
    ),
    *rows(
        "dispatcher/plugins/own_windows.py",
        ("tests/dispatcher/test_slips.py",),
        (
            "a modal has two zooms",
            'with_param(modal.prompt, "zoom", f"{request.zoom:g}")',
            'f"{modal.prompt} --zoom {request.zoom:g}"',
        ),
    ),
    *rows(
        "midjourney/prompts.py",
        ("tests/midjourney/test_prompts.py", "tests/dispatcher/test_prompt_rules.py"),
        (
            "a value brings parameters along",
            "elif any(_start(word, 0) is not None for word in text.split()):",
            "elif False:",
        ),
        ("a parameter is there twice", "        elif not is_placed:\n", "        else:\n"),
        ("an em dash is a word", '_DASHES = "--", "\\u2014", "\\u2013"', '_DASHES = ("--",)'),
    ),
    *rows(
        "dispatcher/rules/patterns.py",
        ("tests/dispatcher/test_patterns.py",),
        ("moves are remembered without end", "if len(self._moves) >= MOST_REMEMBERED:", "if False:"),
        ("the end is not looked at", 'for after in (*text, ""):', "for after in text:"),
    ),
]

MUTANTS = [
    *SLIPS,
    *BUDGET,
    *COUNTS,
    *JOINS,
    *ONCE,
    *BACKOFF,
    *FENCES,
    *KEPT,
    *LIMITS,
    *EVIDENCE,
    *RESTORES,
    *SWEEP,
    *RUNS,
    *FORGED,
    *OUTGOING,
    *GATEWAY,
]
