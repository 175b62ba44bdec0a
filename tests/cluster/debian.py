"""A base image without a registry: this machine's own Debian at its smallest, with Python."""

import platform
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.kept import kept
from tests.cluster.tools import ToolMissing

PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")


def base() -> Path:
    """A folder with `root.tar`, a whole file system, and `python`, the version of its Python, as in 3.11.

    Raises:
        ToolMissing: this machine installs from no Debian.
        subprocess.CalledProcessError: debootstrap failed; it has said why.
    """
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    return kept("base", f"{suite} {platform.machine()} {PACKAGES}", lambda path: _install(path, suite, _mirror(suite)))


def _mirror(suite: str) -> str:
    """Where this machine gets the packages of its own release from.

    Raises:
        ToolMissing: nowhere.
    """
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in listed.splitlines():
        codename, component, address = line.split(" ", 2)
        if (codename, component) == (suite, "main"):
            return address
    raise ToolMissing(f"apt has no packages of {suite or 'this system'} to make a base image of: use Debian")


def _install(path: Path, suite: str, mirror: str) -> None:
    path.mkdir()
    with TemporaryDirectory(dir=path.parent) as root:
        # What it mounts for a while, nobody else sees: /proc would stay, below a folder that is removed, if somebody looked.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        subprocess.run([*command, suite, root, mirror], stdout=subprocess.DEVNULL, check=True)
        python = (Path(root) / "usr/bin/python3").readlink().name.removeprefix("python")
        (path / "python").write_text(python)
        # Nothing of packages that are installed already.
        left = [
            "--exclude=./var/cache/apt/*.bin",
            "--exclude=./var/cache/apt/archives/*.deb",
            "--exclude=./var/lib/apt/lists/*",
        ]
        subprocess.run(["tar", "--create", f"--file={path / 'root.tar'}", f"--directory={root}", *left, "."], check=True)
