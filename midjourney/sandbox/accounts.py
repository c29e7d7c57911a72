"""The account of the server, as it describes it: with the token of its Discord user, as the real ones do."""

from __future__ import annotations

from midjourney.sandbox import chance
from midjourney.sandbox.profiles import ServerProfile


def account(seed: object, profile: ServerProfile, *, concurrency: int, queue: int) -> dict[str, object]:
    """The JSON of the one account of a server with this seed: jobs at once, and jobs that wait.

    The keys are those of novicezk 2.6 (`DiscordAccount.java`), whose `id` is the channel; Plus 3.7.5 has more, of which these
    are the ones that a client can use, and `displays` (`DomainHelper.java`).
    """
    channel = chance.snowflake(seed, "channel")
    shown: dict[str, object] = {
        "id": channel,
        "properties": {},
        "guildId": chance.snowflake(seed, "guild"),
        "channelId": channel,
        "userToken": "a-discord-user-token-of-the-sandbox",
        "userAgent": "Mozilla/5.0 (sandbox)",
        "enable": True,
        "coreSize": concurrency,
        "queueSize": queue,
        "timeoutMinutes": 5,
    }
    if profile.shape != "plus":
        return shown
    return shown | {
        "remark": None,
        "remix": False,
        "nijiRemix": False,
        "remixAutoSubmit": False,
        "mode": "FAST",
        "subscribePlan": "STANDARD",
        "version": "6.1",
        "displays": {"mode": "FAST", "subscribePlan": "STANDARD"},
    }
