"""Where we run: what a PaaS tells by its variables, and whether its disk outlives a restart.

Sources: each platform's page on the variables it sets (devcenter.heroku.com, render.com/docs/environment-variables,
docs.railway.com/variables/reference, fly.io/docs/machines/runtime-environment, zeabur.com/docs, koyeb.com/docs,
cloud.google.com/run/docs/container-contract, learn.microsoft.com/azure/container-apps/environment-variables). Their
disks are empty after each restart, but for a volume.

A platform's router keeps a connection to us open while it is idle. Google's load balancer does so for 600 s, which nobody
can change (docs.cloud.google.com/load-balancing/docs/https, "timeouts and retries").
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A PaaS: its name, the address it gives us ("" where it does not tell), and a volume it tells of (""). `keep_alive_s`
    is how long connections must stay open for its router, where the default is too short (0: it is not)."""

    name: str
    public_url: str = ""
    volume: str = ""
    keep_alive_s: float = 0


class _Known(msgspec.Struct, frozen=True):
    """The variable that shows the platform, how the address is made from others, the one that names a volume, and how
    long its router needs connections to stay open."""

    shown_by: str
    name: str
    address: str = ""
    volume: str = ""
    keep_alive_s: float = 0


_KNOWN = (
    _Known("DYNO", "Heroku", "https://{HEROKU_APP_DEFAULT_DOMAIN_NAME}"),
    _Known("RENDER", "Render", "{RENDER_EXTERNAL_URL}"),
    _Known(
        "RAILWAY_ENVIRONMENT_ID", "Railway", "https://{RAILWAY_PUBLIC_DOMAIN}", "RAILWAY_VOLUME_MOUNT_PATH"
    ),
    _Known("FLY_APP_NAME", "Fly.io", "https://{FLY_APP_NAME}.fly.dev"),
    _Known("ZEABUR_SERVICE_ID", "Zeabur", "{ZEABUR_WEB_URL}"),
    _Known("KOYEB_APP_NAME", "Koyeb", "https://{KOYEB_PUBLIC_DOMAIN}"),
    _Known("K_SERVICE", "Cloud Run", keep_alive_s=650),
    _Known(
        "CONTAINER_APP_ENV_DNS_SUFFIX",
        "Azure Container Apps",
        "https://{CONTAINER_APP_NAME}.{CONTAINER_APP_ENV_DNS_SUFFIX}",
    ),
)


def detect(environment: Mapping[str, str]) -> Platform | None:
    """The platform that these variables are of, or None."""
    for known in _KNOWN:
        if environment.get(known.shown_by):
            return Platform(
                name=known.name,
                public_url=_filled(known.address, environment),
                volume=environment.get(known.volume, "") if known.volume else "",
                keep_alive_s=known.keep_alive_s,
            )
    return None


def _filled(address: str, environment: Mapping[str, str]) -> str:
    """The address with its variables filled in; "" when one of them is not set."""
    complete = all(environment.get(name) for name in re.findall(r"\{(\w+)\}", address))
    return address.format_map(environment) if complete else ""


def loses(platform: Platform | None, file: Path, declared: str) -> bool:
    """Whether a SQLite file lies on a disk that the next restart empties.

    It does not where it lies on a volume: one that is `declared` (HOOKCHAIN_VOLUME), that the platform tells of, or
    that is mounted somewhere above it.
    """
    if platform is None:
        return False
    place = file.absolute().parent
    volumes = [Path(volume) for volume in (declared, platform.volume) if volume]
    if any(place.is_relative_to(volume) for volume in volumes):
        return False
    return not any(os.path.ismount(parent) for parent in (place, *place.parents) if parent != Path("/"))


def warning(platform: Platform | None, file: Path, declared: str) -> str:
    """What to tell whoever keeps SQLite where it will be lost; "" where it will not."""
    if platform is None or not loses(platform, file, declared):
        return ""
    return (
        f"{file} lies on the disk of {platform.name}, which is empty after every restart: ALL THAT IS KEPT WILL BE LOST,"
        " what was paid for included. Add PostgreSQL (DATABASE_URL), or a volume, and say where it is mounted by"
        " HOOKCHAIN_VOLUME. See docs/deploy/"
    )
