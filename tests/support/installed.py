"""The built wheel in a virtual environment of its own, beside the libraries that the tests run with, of which some may lack."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Collection
from pathlib import Path

import msgspec

REPOSITORY = Path(__file__).parent.parent.parent
PATIENCE_S = 300.0


def build_wheel(directory: Path) -> Path:
    """The wheel of this repository, built into a directory."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory)]
    subprocess.run([*command, str(REPOSITORY)], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
    (wheel,) = directory.glob("*.whl")
    return wheel


class Installed(msgspec.Struct, frozen=True):
    """A virtual environment in a folder."""

    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def command(self) -> str:
        """The console script `hookchain`."""
        return str(self.folder / "bin" / "hookchain")

    @property
    def site(self) -> Path:
        """Where its packages are."""
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))

    def run(self, cwd: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of it; its environment is what is given, and PATH."""
        return subprocess.run(
            command,
            cwd=cwd,
            env={"PATH": os.environ.get("PATH", "")} | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def run_each(self, cwd: Path, *calls: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
        """Call `hookchain` with each of these arguments, in processes that one forks which has loaded it already."""
        given = json.dumps([[str(cwd), *arguments] for arguments in calls])
        done = self.run(cwd, self.python, "-P", "-c", _EACH, given)
        assert done.returncode == 0, done.stderr
        return [subprocess.CompletedProcess(*each) for each in json.loads(done.stdout)]

    def install(self, wheel: Path) -> None:
        """Unpack a wheel and write its commands, as pip does, which takes two seconds for it."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        for distribution in importlib.metadata.distributions(path=[str(self.site)]):
            for one in distribution.entry_points.select(group="console_scripts"):
                script = self.folder / "bin" / one.name
                script.write_text(
                    f"#!{self.python}\nimport sys\nfrom {one.module} import {one.attr}\nsys.exit({one.attr}())\n"
                )
                script.chmod(0o755)


_EACH = """
import json, os, subprocess, sys, tempfile
import hookchain.cli.serve, hookchain.cli.operate, hookchain.cli.rules
done = []
for cwd, *arguments in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if not (child := os.fork()):
            os.chdir(cwd)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["hookchain", *arguments]
            hookchain.cli.main()
            sys.exit()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [file.seek(0) or file.read() for file in (out, err)]
    done.append([arguments, code, *texts])
print(json.dumps(done))
"""


def install(folder: Path, wheel: Path, *, without: Collection[str] = ()) -> Installed:
    """A new environment with this wheel and the libraries; `without` are distributions that it does not have."""
    made = Installed(folder / "venv")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(made.folder)], check=True, timeout=PATIENCE_S
    )
    libraries = folder / "libraries"
    libraries.mkdir()
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if one.suffix != ".pth" and one.name.split("-")[0] not in {"hookchain", *without}:
            (libraries / one.name).symlink_to(one)
    (made.site / "libraries.pth").write_text(f"{libraries}\n")
    made.install(wheel)
    return made


def wheel_of(folder: Path, distribution: str, files: dict[str, str]) -> Path:
    """A wheel of somebody else's."""
    info = f"{distribution}-1.0.dist-info"
    wheel = folder / f"{distribution}-1.0-py3-none-any.whl"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")))
    return wheel
