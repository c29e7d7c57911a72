"""What programs for chats and pictures ask."""

from __future__ import annotations

import json

from hookchain.as_client.asking import LET_IN, PICTURE, PROMPT, UNKNOWN, asked, fetch, message, submit
from hookchain.as_client.needs import Shape, ok, order, tasks, with_state
from hookchain.as_client.steps import KnownClient

# A plugin of a chat: every key of a task is read, and only code 1 is success. It finds a user's tasks by the `state` in them.
_STATE = json.dumps({"user_id": "u1", "user_nickname": 'Ann 🐈 "\\/"'}, ensure_ascii=False)
_PLUGIN = Shape(
    keys=(
        "id",
        "status",
        "action",
        "progress",
        "startTime",
        "finishTime",
        "description",
        "prompt",
        "failReason",
        "imageUrl",
        "state",
    )
)
_PLUGIN_ORDER = order(1, needs=("code", "result", "description"))
PLUGIN = KnownClient(
    name="midjourney-proxy-on-wechat",
    source="mouxangithub/midjourney-proxy-on-wechat a1b4461, mjapi.py",
    free=(
        asked(f"/mj/task/{UNKNOWN}/fetch", name="fetch of an unknown task"),
        asked("/mj/task/queue", ok, tasks(_PLUGIN)),
    ),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {"prompt": PROMPT.format("a plugin"), "base64Array": [], "state": _STATE},
            _PLUGIN_ORDER,
        ),
        asked("/mj/task/queue", ok, tasks(_PLUGIN)),
        fetch("grid", _PLUGIN, with_state(_STATE)),
        submit("submit/simple-change", "single", {"content": "$grid U1", "state": _STATE}, _PLUGIN_ORDER),
        fetch("single", _PLUGIN, with_state(_STATE)),
        submit(
            "submit/change",
            "again",
            {"taskId": "$grid", "action": "REROLL", "state": _STATE},
            _PLUGIN_ORDER,
        ),
        fetch("again", _PLUGIN, with_state(_STATE)),
        submit(
            "submit/blend",
            "blend",
            {"base64Array": [PICTURE, PICTURE], "dimensions": "SQUARE", "state": _STATE},
            _PLUGIN_ORDER,
        ),
        fetch("blend", _PLUGIN, with_state(_STATE)),
        submit("submit/describe", "words", {"base64": PICTURE, "state": _STATE}, _PLUGIN_ORDER),
        fetch("words", _PLUGIN, with_state(_STATE)),
    ),
)

# A bot of a chat: it polls nothing, and says what its hook is told. `state` is "room:user".
_BOT_STATE = "room:ann"
BOT = KnownClient(
    name="wechat-midjourney",
    source="novicezk/wechat-midjourney 9bc7f58, src/mj-api.ts",
    key_in="",
    free=(LET_IN,),
    orders=(
        submit(
            "submit/imagine",
            "grid",
            {"state": _BOT_STATE, "prompt": PROMPT.format("a bot"), "notifyHook": "$hook"},
            order(1, 22, needs=("code", "description", "result")),
        ),
        fetch("grid"),  # it would wait for its hook
        submit(
            "submit/simple-change",
            "single",
            {"state": _BOT_STATE, "content": "$grid U1", "notifyHook": "$hook"},
            order(1, 22, needs=("code", "description", "result")),
        ),
        fetch("single"),
    ),
    hook=message(Shape(keys=("id", "status", "action", "description", "prompt")), with_state(_BOT_STATE)),
)

# A node without a field for a key. A status that it does not know raises.
NODE = KnownClient(
    name="ComfyUI-MidjourneyNode-leoleexh",
    source="leoleelxh/ComfyUI-MidjourneyNode-leoleexh 43c02f2, api_client.py",
    key_in="",
    free=(LET_IN,),
    orders=(
        submit(
            "submit/imagine", "grid", {"prompt": PROMPT.format("a node")}, order(1, 22, needs=("result",))
        ),
        fetch("grid"),
        submit(
            "submit/simple-change", "single", {"content": "$grid U4"}, order(1, 21, 22, needs=("result",))
        ),
        fetch("single"),
    ),
)
