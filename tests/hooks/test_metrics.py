"""/metrics: what a Prometheus gets, in either format, and that the documentation lists all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from storage.histogram import Histogram, together
from tests.hooks.conftest import Site

DOCUMENTED = Path("docs/reference/http.md").read_text(encoding="utf-8")
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
"""What Prometheus asks for: the formats that it likes best first."""


def values_of(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


async def worked(site: Site) -> None:
    """A callback that is kept, one that is not understood, a submission that waits, an upstream that is paused."""
    await site.http.post(site.hook, json={"id": "1", "action": "IMAGINE", "status": "SUCCESS"})
    await site.http.post(site.hook, content=b"nonsense")
    await site.http.post("/api/submissions", json={"kind": "imagine", "prompt": "x"})
    await site.http.post("/api/upstreams/main/pause")


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "text/plain;version=0.0.4", OPENMETRICS])
async def test_both_formats_of_prometheus_say_the_same(site: Site, accept: str) -> None:
    """Who asks for OpenMetrics gets it; anybody else gets the text format 0.0.4."""
    await worked(site)
    answer = await site.http.get("/metrics", headers={"accept": accept})
    kind = answer.headers["content-type"]
    if accept == OPENMETRICS:
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert answer.text.endswith("# EOF\n")
        found = values_of(read_openmetrics(answer.text))  # type: ignore[no-untyped-call]  # the library's
    else:
        assert kind.startswith("text/plain; version=0.0.4")
        found = values_of(read_text(answer.text))
    expected = {
        ("hookchain_commits_total", (("transaction", "ingest"),)): 1,
        ("hookchain_callbacks_total", (("answer", "kept"),)): 1,
        ("hookchain_callbacks_total", (("answer", "refused"),)): 1,
        ("hookchain_submissions", (("upstream", "main"), ("state", "waiting"))): 1,
        ("hookchain_upstream_paused", (("upstream", "main"),)): 1,
        ("hookchain_quarantine", ()): 1,
        ("hookchain_events_waiting", ()): 1,
        ("hookchain_callback_seconds_count", ()): 1,
        ("hookchain_callback_seconds_bucket", (("le", "+Inf"),)): 1,
        ("hookchain_callback_refused_seconds_count", ()): 1,
        ("hookchain_submission_wait_seconds_count", ()): 0,
        ("hookchain_connections_shed_total", (("why", "too_many"),)): 0,
    }
    assert {(name, labels): found[name, frozenset(labels)] for name, labels in expected} == expected
    assert found["hookchain_transaction_seconds_count", frozenset()] >= 3
    of_ingest = frozenset({("transaction", "ingest")})
    assert found["hookchain_writer_seconds_count", of_ingest] == 1
    assert 0 < found["hookchain_writer_longest_seconds", of_ingest] < 60
    assert 0 < found["hookchain_callback_seconds_sum", frozenset()] < 60


async def test_every_metric_is_documented_with_its_type(site: Site) -> None:
    """The table of docs/reference/http.md, which is a contract: names, and what they are."""
    table = DOCUMENTED.split("## Metrics", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`hookchain_[^|]+) \| (\w+) \|", table, re.MULTILINE)
    documented = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    typed = re.findall(r"^# TYPE (\w+) (\w+)$", (await site.http.get("/metrics")).text, re.MULTILINE)
    assert dict(typed) == documented


async def test_a_name_with_quotes_breaks_no_line(site: Site) -> None:
    """The library escapes what stands in a label."""
    site.database.timings.requests_of('a"b\\c\nd', "fetch").add(1000)
    answer: httpx.Response = await site.http.get("/metrics")
    found = values_of(read_text(answer.text))
    labels = frozenset({"upstream": 'a"b\\c\nd', "request": "fetch"}.items())
    assert found["hookchain_upstream_request_seconds_count", labels] == 1


def test_a_histogram_counts_a_bound_with_what_is_below_it() -> None:
    histogram = Histogram((1, 2.5, 10))
    for took_us in (0, 1000, 1001, 2500, 9_999_999):
        histogram.add(took_us)
    assert histogram.cumulative() == [2, 4, 4, 5]
    assert (histogram.happened, histogram.total_us) == (5, 10_004_500)
    both = together([histogram, histogram, Histogram((1, 2.5, 10))], (1, 2.5, 10))
    assert (both.cumulative(), both.total_us) == ([4, 8, 8, 10], 20_009_000)


def test_what_raises_is_timed_too() -> None:
    histogram = Histogram((1000,))
    with pytest.raises(KeyError), histogram.timed():
        raise KeyError
    assert histogram.happened == 1
