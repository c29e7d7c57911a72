"""What servers with users of their own ask."""

from __future__ import annotations

from hookchain.as_client.asking import LET_IN, PROMPT, UNKNOWN, asked, fetch, message, submit
from hookchain.as_client.needs import Shape, a_list, a_seed, an_object, ok, order, tasks, with_button
from hookchain.as_client.steps import KnownClient

# A relay that waits half an hour for its hook. Its base URL may end in a mode. `result` is a Go string.
COAI = KnownClient(
    name="coai",
    source="coaidev/coai 3048a49, adapter/midjourney/",
    free=(LET_IN,),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {"notifyHook": "$hook", "prompt": PROMPT.format("a relay")},
            order(1, 22, needs=("code", "description", "result")),
            prefix="/mj-fast/mj",
        ),
        fetch("grid"),
        submit(
            "submit/change",
            "single",
            {"notifyHook": "$hook", "action": "UPSCALE", "index": 2, "taskId": "$grid"},
            order(1, 21, 22, needs=("code", "description", "result")),
            prefix="/mj-fast/mj",
        ),
        fetch("single"),
    ),
    hook=message(Shape(keys=("id", "status", "progress", "failReason", "imageUrl"), percentage=True)),
)

# A service that makes customIds itself, of the last part of the first button's.
_GEEKAI = Shape(keys=("id", "status", "progress", "buttons", "failReason"), percentage=True)
GEEKAI = KnownClient(
    name="geekai",
    source="yangjian102621/geekai 64832a2, api/service/mj/",
    key_in="bearer",
    free=(asked(f"/mj/task/{UNKNOWN}/fetch", an_object, name="fetch of an unknown task"),),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {"botType": "MID_JOURNEY", "prompt": PROMPT.format("a service"), "base64Array": []},
            order(1, 22),
            prefix="/mj-fast/mj",
        ),
        fetch("grid", _GEEKAI, with_button("::")),
        submit(
            "submit/action",
            "single",
            {"customId": "$grid~MJ::JOB::upsample::3::", "taskId": "$grid"},
            order(1, 21, 22),
            prefix="/mj-fast/mj",
        ),
        fetch("single", _GEEKAI),
    ),
)

# Relays that ask in bulk, decode into Go's int64, string and struct, and give a quota back after a failure with a reason.
_RELAY = Shape(keys=("id", "status", "progress"), percentage=True)
RELAY = KnownClient(
    name="new-api, one-hub",
    source="Calcium-Ion/new-api ef8ae4d, controller/midjourney.go; MartialBE/one-hub 387f8bf, relay/midjourney/",
    free=(asked("/mj/task/list-by-condition", ok, a_list, body={"ids": [UNKNOWN]}),),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {
                "prompt": PROMPT.format("relays"),
                "botType": "MID_JOURNEY",
                "base64Array": [],
                "notifyHook": "",
                "state": "",
            },
            order(1, 22, needs=("code", "description", "result", "properties")),
        ),
        asked("/mj/task/list-by-condition", ok, tasks(_RELAY), body={"ids": ["$grid"]}),
        fetch("grid", _RELAY),
        submit(
            "submit/action",
            "single",
            {"customId": "$grid:upsample::1", "taskId": "$grid"},
            order(1, 21, 22, needs=("code", "description", "result", "properties")),
        ),
        fetch("single", _RELAY),
        asked("/mj/task/$grid/image-seed", ok, a_seed, name="seed"),
    ),
)
