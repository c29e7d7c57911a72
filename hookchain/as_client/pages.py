"""What web pages ask."""

from __future__ import annotations

from hookchain.as_client.asking import ANY, PICTURE, PROMPT, UNKNOWN, asked, fetch, submit
from hookchain.as_client.needs import (
    ENDED,
    ORIGIN,
    WINDOW,
    Shape,
    a_list,
    a_seed,
    cross_origin,
    exact_id,
    ok,
    order,
    preflight,
    tasks,
    unconfirmed,
    with_button,
)
from hookchain.as_client.steps import KnownClient, Step

# A page in a browser: ids go out as numbers in lists; a window is answered by the word "confirm", or by code 21 alone.
_PAGE = Shape(keys=("status", "progress", "action"))
_BROWSER = (cross_origin,)
_PAGE_ORDER = (order(1, 22, needs=("code", "result", "description")), exact_id, unconfirmed, cross_origin)
_PAGE_WINDOW = (order(1, WINDOW, 22), exact_id, unconfirmed, cross_origin)
WEB_UI = KnownClient(
    name="chatgpt-web-midjourney-proxy",
    source="Dooy/chatgpt-web-midjourney-proxy 969a9e5, src/api/mjapi.ts",
    headers={"origin": ORIGIN},
    free=(
        Step(
            name="preflight of a submit",
            method="OPTIONS",
            is_anonymous=True,
            path="/mj/submit/imagine",
            headers={
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type,mj-api-secret",
            },
            needs=(preflight("content-type", "mj-api-secret"), cross_origin),
        ),
        asked(f"/mj/task/{UNKNOWN}/fetch", *_BROWSER, name="fetch of an unknown task"),
        asked(f"/mj/task/{UNKNOWN}/image-seed", *_BROWSER, name="seed of an unknown task"),
        asked("/mj/task/list-by-condition", ok, a_list, *_BROWSER, body={"ids": [int(UNKNOWN)]}),
        asked("/mj/gallery", *_BROWSER, name="a path that few servers have"),
    ),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {
                "base64Array": [],
                "notifyHook": "",
                "prompt": PROMPT.format("a page"),
                "state": "",
                "botType": "MID_JOURNEY",
            },
            *_PAGE_ORDER,
        ),
        fetch("grid", _PAGE, with_button(":upsample::1"), *_BROWSER),
        asked("/mj/task/list-by-condition", ok, tasks(ANY), *_BROWSER, body={"ids": ["$grid#"]}),
        submit("submit/action", "single", {"customId": "$grid:upsample::1", "taskId": "$grid"}, *_PAGE_ORDER),
        fetch("single", _PAGE, with_button("CustomZoom::"), with_button(":Inpaint::1"), *_BROWSER),
        submit(
            "submit/action",
            "window",
            {"customId": "$single:CustomZoom::", "taskId": "$single"},
            *_PAGE_WINDOW,
        ),
        submit(
            "submit/modal",
            "zoom",
            {"prompt": PROMPT.format("a page") + "  --zoom 1.8", "taskId": "$window"},
            *_PAGE_ORDER,
        ),
        fetch("zoom", _PAGE, *_BROWSER),
        submit(
            "submit/action", "region", {"customId": "$single:Inpaint::", "taskId": "$single"}, *_PAGE_WINDOW
        ),
        submit(
            "submit/modal",
            "redrawn",
            {"maskBase64": PICTURE, "prompt": "a hat", "taskId": "$region"},
            *_PAGE_ORDER,
        ),
        fetch("redrawn", _PAGE, *_BROWSER),
        submit("submit/describe", "words", {"base64": PICTURE, "botType": "MID_JOURNEY"}, *_PAGE_ORDER),
        fetch("words", _PAGE, *_BROWSER),
        submit(
            "submit/blend",
            "blend",
            {"base64Array": [PICTURE, PICTURE], "botType": "MID_JOURNEY", "dimensions": "SQUARE"},
            *_PAGE_ORDER,
        ),
        fetch("blend", _PAGE, *_BROWSER),
        asked("/mj/task/$grid/image-seed", ok, a_seed, *_BROWSER, name="seed"),
    ),
)

# A page whose server hands everything on; each body is decoded, and a task is fetched right after its submit.
_LOBE = Shape(keys=("id", "status", "progress", "prompt"))
LOBE = KnownClient(
    name="lobe-midjourney-webui",
    source="lobehub/lobe-midjourney-webui 457ce04, src/services/midjourney.ts",
    free=(
        asked(f"/mj/task/{UNKNOWN}/fetch", name="fetch of an unknown task"),
        asked("/mj/task/list", ok, a_list),
        asked("/mj/task/list-by-condition", ok, a_list, body={"ids": [UNKNOWN]}),
        asked("/mj/account/list", name="list of accounts"),
    ),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {"prompt": " " + PROMPT.format("a page behind a server")},
            order(1, 22, needs=("result",)),
        ),
        fetch("grid", _LOBE, until_end=False),
        fetch("grid", _LOBE),
        submit(
            "submit/change", "single", {"action": "UPSCALE", "index": 1, "taskId": "$grid"}, order(1, 21, 22)
        ),
        fetch("single", _LOBE),
        submit("submit/simple-change", "other", {"content": "$grid V2"}, order(1, 22)),
        fetch("other", _LOBE),
        asked("/mj/task/list", ok, tasks(ANY)),
    ),
)

# The page of trueai's own administrators. It reads `properties` of a window, and follows tasks in bulk every 2 s.
ADMIN = KnownClient(
    name="midjourney-proxy-webui",
    source="trueai-org/midjourney-proxy-webui e38ca1e, src/pages/Draw",
    free=(asked("/mj/task/list-by-ids", ok, a_list, body={"ids": [UNKNOWN]}),),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {
                "botType": "MID_JOURNEY",
                "prompt": PROMPT.format("administrators"),
                "base64Array": [],
                "state": "page",
            },
            order(1, 22),
        ),
        fetch("grid", Shape(properties=True)),
        submit(
            "submit/action",
            "single",
            {
                "customId": "$grid:upsample::2",
                "taskId": "$grid",
                "enableRemix": True,
                "state": "page",
            },
            order(1, 21, 22, needs=("code", "description", "result", "properties")),
        ),
        fetch(
            "single",
            Shape(properties=True, statuses=("MODAL", "NOT_START", "SUBMITTED", "IN_PROGRESS", *ENDED)),
        ),
        asked("/mj/task/list-by-ids", ok, tasks(Shape(properties=True)), body={"ids": ["$grid", "$single"]}),
    ),
)
