"""What pages show of what came, and what they do; with words that mean harm in everything that others write."""

from __future__ import annotations

import asyncio
import html
import json
import re
from functools import partial
from typing import Any

import msgspec
import pytest

from dispatcher.trying import tryout
from hooks.dashboard.views import tree
from storage import schema
from storage.engine import Connection
from storage.events import event_log
from storage.reading import gallery
from storage.reading.cards import Card, CardFilter
from storage.tasks import rows as tasks
from tests.hooks.conftest import Site
from tests.hooks.dashboard.parts import called, delivery

HARM = """<script>alert(1)</script>"'><img src=x onerror=alert(2)><hx-partial hx-target="body">&lt;hx-oob&gt;\r\n\u2028{{ 7*"seven" }}"""


async def test_a_task_of_somebody_else_is_in_the_gallery_and_has_its_pages(site: Site) -> None:
    await called(site, "17", prompt="a cat on a mat", imageUrl="https://cdn.example/a.png")
    page = (await site.http.get("/")).text
    assert "a cat on a mat" in page
    assert 'href="/chains/of/main/17"' in page
    assert "/images/main/17?" in page
    assert "cdn.example" not in page
    for path in ("/chains/of/main/17", "/tasks/main/17", "/panel/main/17"):
        assert "a cat on a mat" in (await site.http.get(path)).text


async def test_what_others_write_is_text_and_nothing_else(site: Site) -> None:
    """Prompts, reasons, labels, custom ids, and task ids of any characters."""
    task_id = "a/b?c#d %\"'<x>猫"
    await called(
        site, task_id, prompt=HARM, status="FAILURE", failReason=HARM, description=HARM,
        buttons=[{"customId": HARM, "label": HARM}], properties={"finalPrompt": HARM},
    )  # fmt: skip
    found = await site.http.get("/")
    href = re.search(r'class="cover" href="([^"]+)"', found.text)
    assert href is not None
    pages = [found, await site.http.get(href[1])]
    pages += [await site.http.get(href[1].replace("/chains/of/", one)) for one in ("/panel/", "/tasks/")]
    in_part = {"hx-request": "true"}
    pages.append(await site.http.get(href[1].replace("/chains/of/", "/panel/"), headers=in_part))
    for page in pages:
        assert page.status_code == 200
        text = page.text
        assert "alert(1)" in text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<hx-partial" not in text
        assert "sevenseven" not in text


async def test_a_prompt_is_sent_once_for_one_form(site: Site) -> None:
    form = {"prompt": "a fox", "once": "the form's own"}
    first = await site.http.post("/imagine", data=form)
    second = await site.http.post("/imagine", data=form)
    assert first.headers["location"] == second.headers["location"]
    rows = await site.database.read(lambda c: c.execute(schema.submissions.select()).all())
    assert [row.asked_by for row in rows] == ["person:page"]


async def test_a_button_is_pressed_once_however_often_it_is_clicked(site: Site) -> None:
    buttons = [{"customId": "MJ::JOB::upsample::1::abc", "label": "U1"}]
    await called(site, "17", prompt="a cat", buttons=buttons)
    form = {"button": "MJ::JOB::upsample::1::abc"}
    in_part = {"hx-request": "true"}
    first = (await site.http.post("/press/main/17", data=form, headers=in_part)).text
    second = (await site.http.post("/press/main/17", data=form, headers=in_part)).text
    assert 'aria-pressed="true"' in first
    assert "you do not pay twice" in second
    rows = await site.database.read(lambda c: c.execute(schema.submissions.select()).all())
    assert len(rows) == 1
    page = await site.http.get("/chains/of/main/17")
    assert page.headers["location"].startswith("/chains/"), "it has a chain now"


@pytest.mark.parametrize("form", [{}, {"button": ""}, {"button": " "}])
async def test_a_form_without_a_button_presses_none(site: Site, form: dict[str, str]) -> None:
    """Though the arrows have no label either: each press is paid for."""
    buttons = [{"customId": f"MJ::JOB::pan_{to}::1::u", "label": "", "emoji": "⬅️"} for to in ("left", "up")]
    await called(site, "17", prompt="a cat", buttons=buttons)
    answer = await site.http.post("/press/main/17", data=form)
    assert (answer.status_code, "it offers: ⬅️, ⬅️" in answer.text) == (422, True)
    assert await site.database.read(lambda c: c.execute(schema.submissions.select()).all()) == []


async def test_a_person_may_press_what_the_budget_refused_a_rule(site: Site) -> None:
    buttons = [{"customId": "MJ::JOB::upsample::1::abc", "label": "U1"}]
    await called(site, "17", prompt="a cat", buttons=buttons)
    form = {"button": "MJ::JOB::upsample::1::abc"}
    in_part = {"hx-request": "true"}
    await site.http.post("/press/main/17", data=form, headers=in_part)
    for state, told in (
        ("refused", "a budget had refused it before"),
        ("dead", "This was tried before and did not succeed"),
    ):
        await site.database.write("test", partial(set_state, state))
        assert told in (await site.http.post("/press/main/17", data=form, headers=in_part)).text


def set_state(state: str, connection: Connection) -> None:
    connection.execute(schema.submissions.update().values(state=state))


async def test_a_window_is_answered_once_and_the_second_answer_is_not_said_to_be_sent(site: Site) -> None:
    await called(site, "17", prompt="a cat", status="MODAL", action="ZOOM")
    form, in_part = dict[str, str](), {"hx-request": "true"}
    first = await site.http.post("/modal/main/17", data=form | {"prompt": "one"}, headers=in_part)
    second = await site.http.post("/modal/main/17", data=form | {"prompt": "two"}, headers=in_part)
    assert "Answered." in first.text
    assert "your answer was not sent" in second.text
    await called(site, "18", prompt="a cat")
    none = await site.http.post("/modal/main/18", data=form | {"prompt": "x"}, headers=in_part)
    assert none.status_code == 409


async def test_another_prompt_in_the_same_form_is_another_picture(site: Site) -> None:
    """Who writes the next one before the answer to the first has come. It is sent once too, however often clicked."""
    form = {"once": "the form's own"}
    prompts = ("a fox", "a heron", "a heron", "a fox")
    made = [await site.http.post("/imagine", data=form | {"prompt": prompt}) for prompt in prompts]
    fox, heron, heron_again, fox_again = (one.headers["location"] for one in made)
    assert fox != heron
    assert (heron_again, fox_again) == (heron, fox)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/chains/none", 404),
        ("/chains/of/main/none", 404),
        ("/tasks/main/none", 404),
        ("/panel/nowhere/none", 404),
        ("/?before=x", 422),
        ("/?before=99999999999999999999-x", 422),
        ("/?since=tomorrow", 422),
        ("/?since=9999-12-31&until=9999-12-31", 422),
        ("/?status=odd", 422),
        ("/operations?kind=odd", 422),
        ("/operations?span=odd", 200),
        ("/?text=%25_%5C%00", 200),
        ("/?before=-5-x", 422),
    ],
)
async def test_a_bad_address_says_what_is_wrong(site: Site, path: str, status: int) -> None:
    answer = await site.http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


async def test_an_error_of_a_part_goes_where_people_see_it(site: Site) -> None:
    answer = await site.http.post("/imagine", headers={"hx-request": "true"})
    assert answer.status_code == 422
    assert answer.headers["hx-retarget"] == "#toasts"
    assert "Write a prompt first" in answer.text


async def test_an_error_is_told_in_the_readers_language(site: Site) -> None:
    headers = {"hx-request": "true", "accept-language": "zh-CN"}
    answer = await site.http.post("/imagine", headers=headers)
    assert "请先写提示词" in answer.text


async def test_all_dead_letters_are_meant_only_when_that_is_said(site: Site) -> None:
    form = {"do": "drop"}
    for path in ("/operations/letters", "/operations/quarantine"):
        assert (await site.http.post(path, data=form)).status_code == 422
        assert (await site.http.post(path, data=form | {"all": "1", "sure": "1"})).status_code == 303


async def test_what_cannot_be_undone_is_asked_about_where_no_script_does(site: Site) -> None:
    """Nothing is done before; what is asked for then is what was asked for first."""
    for body in (b"no JSON", b'{"id": "7"}'):
        await site.http.post(site.hook, content=body)
    form = {"do": "drop", "text": "not a task"}
    asked = await site.http.post("/operations/quarantine", data=form)
    assert "Delete all of these?" in asked.text
    assert (await site.http.get("/operations")).text.count('<li id="body-') == 2
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    assert (await site.http.post("/operations/quarantine", data=fields)).status_code == 303
    assert (await site.http.get("/operations")).text.count('<li id="body-') == 1
    letters = await site.http.post("/operations/letters", data=form | {"do": "retry"})
    assert "Retry all of these?" in letters.text
    uncertain = await site.http.post("/operations/uncertain/x", data=form | {"became": "nothing"})
    assert "you pay twice" in uncertain.text


async def test_a_body_from_quarantine_is_mended_on_the_page(site: Site) -> None:
    assert (await site.http.post(site.hook, content=b'{"id": ')).status_code == 400
    page = (await site.http.get("/operations")).text
    found = re.search(r'action="/operations/quarantine/(\d+)"', page)
    assert found is not None
    form = {"do": "edit", "body": '{"id": "5", "status": "SUCCESS", "prompt": "mended"}'}
    assert (await site.http.post(f"/operations/quarantine/{found[1]}", data=form)).status_code == 303
    assert "mended" in (await site.http.get("/")).text
    assert "/operations/quarantine/" + found[1] not in (await site.http.get("/operations")).text


@pytest.mark.parametrize(
    ("body", "was", "becomes"),
    [
        (b'{"properties": {"notifyHook": "http://me/notify/%b"}, "id": "5"', '"5"', '"5", "status": "SUCCESS"}'),
        (b'{"properties": {"notifyHook": "http://me/notify/%b"}, "foo": "5"}', '"foo"', '"status": "SUCCESS", "id"'),
    ],
)  # fmt: skip
async def test_a_hook_in_a_body_that_was_not_understood_is_kept_nowhere(
    site: Site, body: bytes, was: str, becomes: str
) -> None:
    """Who knows the hook's address may post to it. JSON that is no task, and what is no JSON."""
    token = site.hook.rpartition("/")[2]
    await site.http.post(site.hook, content=body % token.encode())
    for path in ("/operations", "/api/quarantine"):
        text = (await site.http.get(path)).text
        assert ("[redacted]" in text, token in text) == (True, False)
    page = (await site.http.get("/operations")).text
    text = html.unescape(re.findall(r'<textarea[^>]* name="body"[^>]*>(.*?)</textarea>', page, re.DOTALL)[0])
    found = re.search(r'action="/operations/quarantine/(\d+)"', page)
    assert found is not None
    form = {"do": "edit", "body": text.replace(was, becomes)}
    assert (await site.http.post(f"/operations/quarantine/{found[1]}", data=form)).status_code == 303
    payload = await site.database.read(lambda c: event_log.latest_payload(c, "main", "5"))
    assert json.loads(payload)["properties"] == {"notifyHook": "[redacted]"}
    assert token not in (await site.http.get("/tasks/main/5")).text


@pytest.mark.process
async def test_a_rule_is_tried_on_what_has_been_and_nothing_is_sent(site: Site) -> None:
    buttons = [{"customId": f"MJ::JOB::upsample::{n}::abc", "label": f"U{n}"} for n in (1, 2, 3, 4)]
    await called(site, "17", prompt="a cat", buttons=buttons)
    rule = '[[rules]]\nname = "up"\non = "task.succeeded"\npress = "U*"\n'
    form = {"rules": rule, "days": "1"}
    tried = (await site.http.post("/rules/try", data=form, headers={"hx-request": "true"})).text
    assert "rule:up" in tried
    assert ">4<" in tried
    assert "<html" not in tried
    assert "Warning:" not in tried
    doubtful = form | {"rules": rule.replace("U*", "U5")}
    assert (
        "no known upstream offers a button &#39;U5&#39;"
        in (await site.http.post("/rules/try", data=doubtful)).text
    )
    assert await site.database.read(lambda c: c.execute(schema.submissions.select()).all()) == []
    wrong = await site.http.post("/rules/try", data=form | {"rules": '[[rules]]\nname = "up"\nonn = "x"\n'})
    assert "onn" in wrong.text


@pytest.mark.process
async def test_without_scripts_the_answer_comes_with_its_page(site: Site) -> None:
    """What was written stands in it, and what came of it."""
    form = {"rules": '[[rules]]\nname = "up"\nonn = "x"\n', "days": "7"}
    tried = (await site.http.post("/rules/try", data=form)).text
    assert "unknown key" in tried.partition('id="tried"')[2]
    assert "onn = &#34;x&#34;" in tried.partition("<textarea")[2].partition("</textarea>")[0]
    assert '<option value="7" selected>' in tried
    examined = (await site.http.post("/setup/examine", data=form | {"upstream": "main"})).text
    assert "<h1>" in examined
    assert "Reachable" in examined


@pytest.mark.process
async def test_rules_that_never_end_stop_nothing_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given up when their time is over; until then all else is answered, and other rules wait."""
    monkeypatch.setattr(tryout, "WITHIN_S", 4)
    rule = """[[rules]]\nname = "up"\non = "task.succeeded"\nshorten = "{{ 1.5|round(1000000000, 'floor') }}"\n"""
    form = {"rules": rule, "days": "1"}
    both = [asyncio.create_task(site.http.post("/rules/try", data=form)) for _ in range(2)]
    (done,), (tried,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert done.result().status_code == 503
    assert "other rules are being tried at the moment" in done.result().text
    assert (await site.http.get("/healthz")).status_code == 200
    await called(site, "17", prompt="a cat")
    assert not tried.done()
    given_up = await tried
    assert given_up.status_code == 422
    assert "took more than 4 s" in given_up.text
    assert "choose fewer days, or use `hookchain rules try`" in given_up.text
    assert "1.5|round(1000000000" in given_up.text.partition("<textarea")[2].partition("</textarea>")[0]


async def test_tasks_that_are_their_own_ancestors_are_shown_once(site: Site) -> None:
    """Senders have written such parents."""
    for task_id, parent in (("1", "2"), ("2", "1"), ("3", "3")):
        await called(site, task_id, prompt="a cat", parentId=parent)

    def ask(connection: Any) -> list[str]:
        rows = [one.tasks[0] for one in gallery.page(connection, CardFilter(), most=10).cards]
        roots = tree(Card(chain=None, tasks=tuple(rows)), {})
        shown: list[str] = []
        left = list(roots)
        while left:
            node = left.pop()
            shown.append(node.task_id)
            left += node.children
        return shown

    assert sorted(await site.database.read(ask)) == ["1", "2", "3"]


async def test_what_fails_and_is_tried_again_is_shown_before_what_has_not_run(site: Site) -> None:
    """However much waits beside it."""
    rows = [delivery(n, error="") for n in range(60)] + [
        delivery(60, error="Traceback\nOSError: the disk is full")
    ]
    await site.database.write("test", lambda c: c.execute(schema.deliveries.insert(), rows))
    page = (await site.http.get("/operations")).text
    assert "OSError: the disk is full" in page


async def test_a_chain_of_any_depth_has_its_page(site: Site) -> None:
    """What is too deep to be drawn stands beside the tree."""
    for n in range(230):
        await called(site, str(n), prompt="a cat", parentId=str(n - 1) if n else "")
    for task_id in ("229", "0"):
        buttons = [{"customId": "MJ::JOB::upsample::1::abc", "label": "U1"}]
        await called(site, task_id, prompt="a cat", buttons=buttons)
    form = {"button": "U1"}
    await site.http.post("/press/main/229", data=form)
    page = await site.http.get("/chains/of/main/229", follow_redirects=True)
    assert page.status_code == 200


async def test_two_tasks_of_one_id_are_two(site: Site) -> None:
    """Upstreams count for themselves."""
    rows = [msgspec.structs.replace(tasks.blank(name, "1", 5), chain_id="c") for name in ("main", "other")]
    roots = tree(Card(chain=None, tasks=tuple(rows)), {})
    assert [node.upstream for node in roots] == ["main", "other"]


async def test_quarantined_bodies_are_chosen_by_why_they_are_there(site: Site) -> None:
    """And those alone are dropped."""
    for body in (b"no JSON", b'{"id": "7"}'):
        await site.http.post(site.hook, content=body)
    both = (await site.http.get("/operations")).text
    assert both.count('<li id="body-') == 2
    one = (await site.http.get("/operations?body=not+a+task")).text
    assert one.count('<li id="body-') == 1
    form = {"do": "drop", "text": "not a task", "sure": "1"}
    assert (await site.http.post("/operations/quarantine", data=form)).status_code == 303
    assert (await site.http.get("/operations")).text.count('<li id="body-') == 1
