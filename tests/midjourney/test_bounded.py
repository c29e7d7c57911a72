"""What a hostile server answers costs neither memory nor time without end, whoever of us asked it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib

import pytest

from midjourney.bounded import (
    FREE_PIECES,
    LEAST_PIECE_BYTES,
    Bounds,
    Intake,
    TooMuch,
    Undecipherable,
    Unwanted,
)
from tests.conftest import PATIENCE_S, REPOSITORY
from tests.hostile.web import ATTACKS, PNG, hostile_web

ASKS = """
import asyncio, json, os, resource, sys
import dispatcher.effects.forward, midjourney.client, midjourney.examine, midjourney.loading

async def client(url):
    from midjourney.client import Client
    from midjourney.dialects import DIALECTS, Upstream
    from midjourney.keeping import KEPT_BYTES
    asks = Client(Upstream(url=url, timeout_s=WITHIN_S), DIALECTS["mj-plus"])
    try:
        task = await asks.fetch("1")
        raise RuntimeError(f"believed {task.status}, and kept " + ("little" if len(task.raw) <= KEPT_BYTES else "all"))
    finally:
        await asks.aclose()

async def listing(url):
    from midjourney.client import Client
    from midjourney.dialects import DIALECTS, Upstream
    asks = Client(Upstream(url=url, timeout_s=WITHIN_S), DIALECTS["mj-plus"])
    try:
        await asks.list_all()
    finally:
        await asks.aclose()

async def doctor(url):
    from midjourney import examine
    from midjourney.dialects import DIALECTS
    examine._BOUNDS = __import__("msgspec").structs.replace(examine._BOUNDS, within_s=WITHIN_S)
    found = await examine.examine(url, "", DIALECTS)
    raise RuntimeError(found.why)

async def image(url):
    from midjourney.loading import fetch_image
    await fetch_image(url, timeout_s=WITHIN_S, may_be_private=lambda _: True)

async def forward(url):
    import httpx
    from types import SimpleNamespace
    from dispatcher.effects.forward import forward
    from midjourney.types import Task
    event = SimpleNamespace(id="1", received_at_ms=1, signal="x", source="x", provenance="x", detail="x")
    chain = SimpleNamespace(id="1", upstream="main", depth=0)
    await forward(Task(id="1", status="SUCCESS"), event=event, chain=chain, url=url, timeout_s=WITHIN_S)

def attack(who, url):
    resource.setrlimit(resource.RLIMIT_AS, (1500 * 2**20, 1500 * 2**20))
    try:
        asyncio.run(globals()[who](url))
        said = "nothing"
    except (Exception, MemoryError) as error:
        said = f"{type(error).__name__}: {error}"
    # Not ru_maxrss, which begins with the memory of the process that started this one.
    status = open("/proc/self/status").read()
    return [said, int(status.split("VmHWM:")[1].split()[0]) // 1024]

running = []
for who, attacks in json.loads(sys.argv[1]).items():
    for name, url, WITHIN_S in attacks:
        ours, theirs = os.pipe()
        if not os.fork():
            os.write(theirs, json.dumps([[who, name], attack(who, url)]).encode())
            os._exit(0)
        os.close(theirs)
        running.append(open(ours))
    for one in running[-len(attacks):]:
        print(one.read())
        os.wait()
"""

PRINT_START = b'{"id":"1","status":"SUCCESS","prompt":"'
QUICK = {
    "client": (
        "endless",
        "long id",
        "many fields",
        "flood of hints",
        "one byte chunks",
        "chunk extensions",
        "drip",
        "drip in the head",
        "early hints",
        "bomb",
        "bomb of bombs",
    ),
    "listing": ("endless", "bomb"),
    "doctor": ("endless", "bomb", "drip"),
    "image": ("endless", "declared", "drip", "drip in the head"),
    "forward": ("endless error", "bomb"),
}
UNENDING = ("endless", "declared", "bomb", "flood of hints", "one byte chunks", "chunk extensions")
SLOW = ("drip", "drip in the head", "early hints")
CASES = [(who, attack) for who, attacks in QUICK.items() for attack in attacks]


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, str], tuple[str, int]]:
    """What each of ours made of each attack, and the memory (MB) of its process at most. Those of one run side by side."""
    with hostile_web(PRINT_START) as upstream, hostile_web(PNG + b" rest") as pictures:
        webs = {who: pictures if who == "image" else upstream for who in QUICK}
        asked = {
            who: [(attack, webs[who].url_of(attack), 0.5 if attack in SLOW else 60) for attack in attacks]
            for who, attacks in QUICK.items()
        }
        done = subprocess.run(
            [sys.executable, "-c", ASKS, json.dumps(asked)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
    return {tuple(case): tuple(found) for case, found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.process
@pytest.mark.parametrize(("who", "attack"), CASES)
def test_an_attack_ends_within_bounds(
    answers: dict[tuple[str, str], tuple[str, int]], who: str, attack: str
) -> None:
    """An error that says what the server did, and a process that stays small."""
    said, most_mb = answers[who, attack]
    expected = {
        "forward": {"endless error": "answered HTTP 502", "bomb": "nothing"},
    }.get(who, {}).get(attack, "more than" if attack in UNENDING else "")
    if attack == "long id":
        expected = '"id":"xxx'
    if attack == "many fields":
        expected = "believed SUCCESS, and kept little"
    if attack == "bomb of bombs":
        expected = "compressed as 'gzip, gzip'"
    if attack in SLOW:
        expected = "0.5 s"
    assert expected in said
    assert "MemoryError" not in said
    assert most_mb < 200


def test_every_attack_is_tried() -> None:
    """None is forgotten when one is added."""
    assert {attack for _, attack in CASES} == set(ATTACKS)


BOUNDS = Bounds(sent_bytes=1000, unpacked_bytes=2000, within_s=1.0)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"a" * 2000, mtime=0)),
        ("x-gzip", gzip.compress(b"a" * 2000, mtime=0)),
        ("deflate", zlib.compress(b"a" * 2000)),
        ("deflate", zlib.compress(b"a" * 2000)[2:-4]),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 5000])
def test_a_packed_answer_is_read_to_its_bound(coding: str, packed: bytes, piece: int) -> None:
    """However it is cut; a byte more is too much."""
    for bounds, fits in ((BOUNDS, True), (Bounds(sent_bytes=1000, unpacked_bytes=1999, within_s=1.0), False)):
        intake = Intake({"content-encoding": coding}, bounds)
        try:
            for at in range(0, len(packed), piece):
                intake.add(packed[at : at + piece])
            assert (intake.end(), fits) == (b"a" * 2000, True)
        except TooMuch:
            assert not fits


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({}, b"a" * 1001, TooMuch),
        ({"content-length": "1001"}, b"", TooMuch),
        ({"content-encoding": "br"}, b"a", Undecipherable),
        ({"content-encoding": "gzip"}, b"no gzip", Undecipherable),
        ({"content-encoding": "gzip"}, gzip.compress(b"abc", mtime=0)[:-9], Undecipherable),
        ({"content-type": "Text/HTML; charset=x"}, b"", Unwanted),
    ],
)
def test_what_breaks_its_bounds_says_so(headers: dict[str, str], body: bytes, error: type[Exception]) -> None:
    """By an error for each kind."""
    bounds = Bounds(sent_bytes=1000, unpacked_bytes=2000, within_s=1.0, unwanted=("text/html",))

    def read() -> None:
        intake = Intake(headers, bounds)
        intake.add(body)
        intake.end()

    with pytest.raises(error):
        read()


def test_a_body_in_tiny_pieces_is_too_much() -> None:
    """Each costs the same time however small it is; of half a kilobyte there may be as many as the bytes allow."""
    bounds = Bounds(sent_bytes=4_000_000, unpacked_bytes=4_000_000, within_s=1.0)
    intake = Intake({}, bounds)
    for _ in range(7_800):
        intake.add(b"x" * LEAST_PIECE_BYTES)
    intake = Intake({}, bounds)
    for _ in range(FREE_PIECES + FREE_PIECES // LEAST_PIECE_BYTES):
        intake.add(b"x")
    with pytest.raises(TooMuch, match="pieces"):
        intake.add(b"x")


def test_an_answer_of_the_largest_size_is_read() -> None:
    """The bound itself is allowed."""
    intake = Intake({"content-length": "1000"}, BOUNDS)
    intake.add(b"a" * 1000)
    assert intake.end() == b"a" * 1000
