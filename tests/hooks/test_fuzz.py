"""The hook's endpoint under inputs that nobody thought of: bytes, JSON shapes, and recorded payloads with something changed.

Hypothesis only makes the inputs. They are posted in batches, since a commit keeps many callbacks at once, and so that what
Hypothesis itself remembers does not count as growth of the server.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from storage import schema
from storage.engine import Connection
from tests.conftest import PATIENCE_S
from tests.hooks.conftest import Site, site_of

CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent.parent / "corpus").glob("*.json"))]
BATCH = 50
ROUND = 500
GROWTH_BYTES = 64 << 20
"""How much the inputs of a part may add to the process: what SQLite and the allocator keep."""
OBJECTS_AN_INPUT = 0.5
"""Python objects that may stay of an input, on average: if something kept each, it would be at least one. The first round does
not count: it fills the caches of the libraries on the way."""

SETTINGS = {"HOOKCHAIN_BODY_LIMIT_BYTES": "65536"}
NO_QUOTAS = {"HOOKCHAIN_QUOTAS_BYTES_PER_HOUR": "0", "HOOKCHAIN_QUOTAS_TASKS_PER_HOUR": "0"}
"""A hook's quotas are used up after some 10,000 inputs; from then on it is them that would be tested."""

SHORT, LONG, PARTS = 2_000, 100_000, 10
"""A million inputs, in parts: all of them take an hour of processor time, most of it to make them up."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the hook: what comes behind the hook's address, the headers, the body."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    behind: str = ""


WORDS = st.sampled_from(
    [
        "SUCCESS",
        "FAILURE",
        "MODAL",
        "success",
        "",
        "0",
        "IMAGINE",
        "100%",
        "\x00",
        "\ud800",
        "1e999",
        "NaN",
        ".",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS
SHAPES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | WORDS, inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "id",
        "taskId",
        "task_id",
        "result",
        "status",
        "action",
        "progress",
        "prompt",
        "promptEn",
        "properties",
        "buttons",
        "imageUrl",
        "submitTime",
        "finishTime",
        "state",
        "parentId",
        "failReason",
        "data",
        "task",
        "code",
        "description",
        "videoUrls",
    ]
)
TASKS = st.dictionaries(FIELDS, SHAPES, max_size=6)


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def _deep(depth: int) -> bytes:
    return b'{"id":"1","status":"SUCCESS","properties":' + b"[" * depth + b"]" * depth + b"}"


@st.composite
def _cut(draw: st.DrawFn) -> bytes:
    """A recorded payload of which a part is gone, repeated, or other bytes."""
    body = draw(st.sampled_from(CORPUS))
    start, length = draw(st.integers(0, len(body))), draw(st.integers(0, 40))
    middle = draw(st.binary(max_size=8) | st.just(body[start : start + length] * 2) | st.just(b""))
    return body[:start] + middle + body[start + length :]


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """A recorded payload with one field of another shape."""
    value = json.loads(draw(st.sampled_from([body for body in CORPUS if body[:1] == b"{"])))
    value[draw(FIELDS)] = draw(SHAPES)
    return _encoded(value)


BODIES = st.one_of(
    st.binary(max_size=200),
    SHAPES.map(_encoded),
    TASKS.map(_encoded),
    _cut(),
    _changed(),
    st.sampled_from([10, 200, 5_000, 30_000]).map(_deep),
    st.sampled_from([b" " * 70_000, b'{"id":"1","status":"' + b"9" * 60_000 + b'"}', b"9" * 5_000, b""]),
)
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "gzip, deflate": lambda body: zlib.compress(gzip.compress(body)),
    "br": lambda body: body,
    "identity": lambda body: body,
}


@st.composite
def _inputs(draw: st.DrawFn) -> Input:
    body = draw(BODIES)
    headers: list[tuple[str, str]] = []
    if draw(st.integers(0, 9)) == 0:
        name = draw(st.sampled_from(sorted(ENCODINGS)))
        body = draw(st.sampled_from([ENCODINGS[name](body), body, ENCODINGS[name](body)[:-3]]))
        headers.append(("content-encoding", name))
    if draw(st.booleans()):
        kinds = ["application/json", "text/plain; charset=utf-16", "multipart/form-data", "\xff", ""]
        headers.append(("content-type", draw(st.sampled_from(kinds))))
    behind = draw(st.sampled_from(["", "", "", "/", "//", "?a=%00", "%20"]))
    return Input(body=body, headers=tuple(headers), behind=behind)


def inputs(number: int, count: int) -> list[Input]:
    """So many inputs of the round with this number: the same ones for the same number."""
    made: list[Input] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(_inputs())
    def make(one: Input) -> None:
        made.append(one)

    make()
    return made[:count]


async def _post(site: Site, one: Input) -> tuple[int, str]:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in one.headers]
    answer = await site.http.post(site.hook + one.behind, content=one.body, headers=headers)
    assert answer.status_code < 500, (answer.status_code, answer.text, one)
    return answer.status_code, answer.text


async def _post_all(site: Site, given: list[Input]) -> Counter[int]:
    """Their answers, by status."""
    answers: Counter[int] = Counter()
    for start in range(0, len(given), BATCH):
        batch = await asyncio.gather(*(_post(site, one) for one in given[start : start + BATCH]))
        answers.update(status for status, _ in batch)
    return answers


async def _accounts(site: Site) -> dict[str, int]:
    """What the database has to show for all that came, once the counts of refusals are written."""

    def count(connection: Connection) -> dict[str, int]:
        refused = connection.execute(
            select(schema.refusals.c.why, func.sum(schema.refusals.c.count)).group_by("why")
        )
        kept = connection.execute(select(func.count()).select_from(schema.events)).scalar_one()
        quarantined = connection.execute(select(func.count()).select_from(schema.quarantine)).scalar_one()
        return {"events": kept, "quarantine": quarantined} | {str(why): int(n) for why, n in refused}

    found: dict[str, int] = await site.database.read(count)
    return found


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    ("part", "count", "quotas"),
    [
        pytest.param(0, SHORT, {}, id="2,000"),
        *(
            pytest.param(
                part, LONG, {} if part == PARTS else NO_QUOTAS, id=f"part {part}", marks=pytest.mark.soak
            )
            for part in range(1, PARTS + 1)
        ),
    ],
)
async def test_every_input_is_accounted_for(
    new_database: Path, part: int, count: int, quotas: dict[str, str]
) -> None:
    """Any bytes: never a 5xx, nothing stays in memory, and each is an event, is in quarantine, or is a counted refusal."""
    async with site_of(new_database, **SETTINGS, **quotas) as site:
        answers: Counter[int] = Counter()
        objects: list[int] = []
        resident: list[int] = []
        for number in range(part * LONG // ROUND, (part * LONG + count) // ROUND):
            given = inputs(number, ROUND)
            before = _objects()
            answers += await _post_all(site, given)
            objects.append(_objects() - before)
            resident.append(_resident_bytes())
        total = sum(answers.values())
        print(f"{total} inputs were answered {dict(answers)}")
        async with asyncio.timeout(PATIENCE_S):
            while sum((found := await _accounts(site)).values()) - found["quarantine"] < total:
                await asyncio.sleep(0.1)  # counts are written every second
        print(f"{found}; {sum(objects[1:])} objects more")
        print(f"{resident[0] >> 20} MB after the first round, {resident[-1] >> 20} MB after the last")
    quarantined, events = found.pop("quarantine"), found.pop("events")
    assert events + found.get("over_quota", 0) >= answers.pop(200) >= events > 0
    assert 0 < quarantined <= found["not_understood"]
    assert found["too_large"] == answers.pop(413)
    assert events + sum(found.values()) == total
    assert set(answers) <= {400, 415, 422, 429}
    assert resident[-1] - resident[0] < GROWTH_BYTES
    assert sum(objects[1:]) < OBJECTS_AN_INPUT * (count - ROUND)
