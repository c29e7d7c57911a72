"""Detect the PaaS from its environment variables, and whether its disk is persistent.

Sources: each platform's page on the variables it sets (devcenter.heroku.com, render.com/docs/environment-variables,
docs.railway.com/variables/reference, fly.io/docs/machines/runtime-environment, zeabur.com/docs, koyeb.com/docs,
cloud.google.com/run/docs/container-contract, learn.microsoft.com/azure/container-apps/environment-variables). Their
disks are emptied by each restart, except volumes.

A platform's router keeps idle connections to us open. Google's load balancer keeps them for 600 s, which cannot be changed
(docs.cloud.google.com/load-balancing/docs/https, "timeouts and retries").
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A PaaS. `public_url` and `volume` are "" if its variables do not name them. `keep_alive_s`: how long its router needs
    idle connections to stay open; 0 if the default is long enough."""

    name: str
    public_url: str = ""
    volume: str = ""
    keep_alive_s: float = 0


class _Known(msgspec.Struct, frozen=True):
    """How to detect a platform.

    `shown_by`: a variable that only this platform sets. `address`: a template of the public URL, filled in from variables.
    `volume`: the variable with the path of a volume. `keep_alive_s`: see `Platform`.
    """

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
    """The platform that sets these variables, or None."""
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
    """The address with its variables filled in; "" if one of them is not set."""
    complete = all(environment.get(name) for name in re.findall(r"\{(\w+)\}", address))
    return address.format_map(environment) if complete else ""


def is_lost_at_restart(platform: Platform | None, file: Path, declared: str) -> bool:
    """True if a SQLite file is on a disk that the next restart empties.

    A file on a volume is kept: the volume in `declared` (HOOKCHAIN_VOLUME), the volume that the platform names, or any mount
    point above the file.
    """
    if platform is None:
        return False
    place = file.absolute().parent
    volumes = [Path(volume) for volume in (declared, platform.volume) if volume]
    if any(place.is_relative_to(volume) for volume in volumes):
        return False
    return not any(os.path.ismount(parent) for parent in (place, *place.parents) if parent != Path("/"))


def warning(platform: Platform | None, file: Path, declared: str) -> str:
    """A warning if the next restart will delete the SQLite file; "" if it will not."""
    if platform is None or not is_lost_at_restart(platform, file, declared):
        return ""
    return (
        f"{file} is on the disk of {platform.name}, which every restart empties: ALL DATA WILL BE LOST, including the record"
        " of what was paid for. Use PostgreSQL (DATABASE_URL), or add a volume and set HOOKCHAIN_VOLUME to its mount path."
        " See docs/deploy/"
    )
