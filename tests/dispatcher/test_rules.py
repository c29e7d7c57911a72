"""Rules: what they may say, and what a mistake is answered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.receivers import options_of
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import receivers_of
from hookchain.cli.rules_check import check_file, text_of
from hookchain.rules import rules_of
from hookchain.settings.load import load_settings

ROOT = Path(__file__).parent.parent.parent


def load(text: str) -> list[CompiledRule]:
    return load_rules(tomllib.loads(text)["rules"], file="rules.toml", text=text)


RULE = """# a comment

[[rules]]
name = "first"
on = "task.succeeded"
press = "U1"

[[rules]]
name = "second"
on = "task.succeeded"
{}
"""


WRONG = [
    one.split("\n\n-> ")
    for one in (Path(__file__).parent / "wrong_rules.txt").read_text().split("-" * 20 + "\n")
    if one.strip()
]


@pytest.mark.parametrize(
    ("text", "message"), WRONG, ids=[f"{at}-{message[:60]}" for at, (_, message) in enumerate(WRONG)]
)
def test_a_mistake_names_file_line_rule_key_and_what_to_write(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word as `rules check` prints it; wrong_rules.txt has the files and the words. Warnings begin with "!"."""
    monkeypatch.chdir(tmp_path)
    for name in ("main", "second"):
        monkeypatch.setenv(f"HOOKCHAIN_UPSTREAMS_{name.upper()}_URL", f"https://{name}.example.com")
    Path("rules.toml").write_text(f"{text}\n")
    checked = check_file(Path("rules.toml"))
    found = [text_of(one) for one in checked.mistakes] + [f"! {text_of(one)}" for one in checked.warnings]
    assert "\n".join(found) == message.strip()


def test_there_are_many_ways_to_be_wrong() -> None:
    """The table has not shrunk: mistakes, and warnings."""
    warnings = [message for _, message in WRONG if message.startswith("!")]
    assert (len(warnings) >= 60, len(WRONG) - len(warnings) >= 110) == (True, True)


def test_the_line_is_that_of_the_key_in_the_rule_that_is_wrong() -> None:
    """Comments and other rules before it count."""
    with pytest.raises(RuleError, match=r"^rules.toml:11, rule \"second\", key 'pres': unknown key"):
        load(RULE.format('pres = "U*"'))


def test_two_rules_of_one_name_are_refused() -> None:
    """Their deliveries could not be told apart."""
    with pytest.raises(RuleError, match=r"another rule has this name, at rules\.toml:3\. Rename one"):
        load(RULE.format('press = "U2"').replace("second", "first"))


SHIPPED = [ROOT / "hookchain.toml", *sorted((ROOT / "examples").glob("*.toml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_the_shipped_rules_load(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own file, and the examples, with the variables that they speak of; the linter has nothing to say."""
    monkeypatch.setenv("FORWARD_URL", "https://other.example.com/in")
    monkeypatch.setenv("FORWARD_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")
    monkeypatch.setenv("NOTIFY_TO", "json://127.0.0.1")
    monkeypatch.setenv("MAIN_URL", "https://main.example.com")
    monkeypatch.setenv("OTHER_URL", "https://other.example.com")
    monkeypatch.setenv("ALICE_KEY", "a-long-key-of-alice-0123456789")
    monkeypatch.setenv("BOB_KEY", "a-long-key-of-bob-0123456789")
    rules = rules_of(load_settings({"HOOKCHAIN_CONFIG": str(path)}))
    assert rules
    assert [warning for rule in rules for warning in rule.warnings] == []


def test_a_rule_cannot_reach_into_python() -> None:
    """The sandbox refuses what begins with an underscore."""
    with pytest.raises(RuleError):
        load(RULE.format('if = "task.__class__"\npress = "U1"'))


def test_few_pictures_are_held_at_once() -> None:
    """Each may have 50 MB; sixteen at a time of 700 kB took the server 345 MB."""
    [rule] = load(
        """[[rules]]
        name = "keep"
        on = "task.succeeded"
        archive = "pictures"
        split_grid = "quarters"
        notify = "json://127.0.0.1:9" """
    )
    found = [options_of(function) for _, function in receivers_of(rule)]
    at_once = {options.name: options.concurrency for options in found}
    assert at_once == {"rule:keep/archive": 4, "rule:keep/split_grid": 2, "rule:keep/notify": 16}


def test_all_mistakes_of_all_rules_are_reported_at_once() -> None:
    """In the order of the file, with those that only show once others are mended; a right rule between them is no mistake."""
    text = """[[rules]]
name = "first"
on = "task.suceeded"
pres = "U1"
if = "task.is_gird"
after = "soon"
delay = 3

[[rules]]
name = "right"
on = "task.succeeded"
press = "U1"

[[rules]]
onn = "task.succeeded"
zoom = 7
imagine = { promt = "x" }
blend = ["{{ task.image_url }}"]
limit = -1

[[rules]]
name = "right"
on = "task.succeeded"
vary = "strong"
"""
    with pytest.raises(RuleError) as raised:
        load(text)
    assert [message.partition(", ")[2] for message in raised.value.messages] == [
        """rule "first", key 'on': unknown signal 'task.suceeded'. Did you mean "task.succeeded"?""",
        """rule "first", key 'pres': unknown key. Did you mean "press"?""",
        """rule "first", key 'if': 'task.is_gird': 'task' has no field 'is_gird'. Did you mean "is_grid"?""",
        """rule "first", key 'after': 'soon' is not a time. Write seconds, or "10 min", "2 h", "3 days".""",
        """rule "first", key 'delay': unknown key. Did you mean "after"?""",
        """rule "no. 3": the key 'name' is missing. Write name = "upscale-all".""",
        """rule "no. 3", key 'onn': unknown key. Did you mean "on"?""",
        """rule "no. 3", key 'zoom': 7 is out of range. Midjourney zooms out by a factor above 1, up to 2.""",
        """rule "no. 3", key 'imagine': unknown key 'promt' in imagine. Did you mean "prompt"?""",
        """rule "no. 3", key 'blend': a blend takes 2 to 5 images, not 1.""",
        """rule "no. 3", key 'limit': -1 is not between 0 and 1000000. Leave it out for no limit.""",
        """rule "right", key 'name': another rule has this name, at rules.toml:9. Rename one of them.""",
    ]
    assert str(raised.value) == "\n".join(raised.value.messages)


@pytest.mark.parametrize(
    "keys",
    [
        'on = "task.suceeded"\npress = "U1"',
        'on = "needs_modal"\nmodal = "{{ modal.prompt }}"\nif = "modal.kind == \'custom_zoom\'"',
        'on = "wrong"\nmodal = "{{ modal.prompt }}"\nif = "modal.kind == \'custom_zoom\'"',
        'on = "wrong"\ncancel = true',
        'on = "wrong"\nrepeat = true',
        'on = "task.succeeded"\npres = "custom_zoom"\nmodal = "x"',
        'on = "task.succeeded"\npress = 3\nmodal = "x"',
        'on = "task.succeeded"\nzoom = "wide"\nmodal = "x"',
        'on = "task.succeeded"\nvary = "storng"',
        'on = "task.succeeded"\nforward = "gopher://pictures"',
        'on = "task.succeeded"\nimagine = { prompt = "x", dimensions = "SQUARE" }\nupstream = "main"',
        'on = "task.succeeded"\nupscale = "all"',
        'on = "submission.needs_modal"\nanswer = "x"',
        'on = "task.succeeded"\nvary = "region"\nmodal = { mask = "midle" }',
    ],
)
def test_one_mistake_is_reported_once(keys: str) -> None:
    """What is wrong only because of another mistake is not reported beside it."""
    with pytest.raises(RuleError) as raised:
        load(f'[[rules]]\nname = "r"\n{keys}\n')
    assert len(raised.value.messages) == 1, raised.value
