"""The images of users as a containerd keeps them: unpacked once, and laid into each containerd of the tests as links."""

import shutil
import subprocess
from pathlib import Path

from tests.cluster.containers import Containerd
from tests.cluster.images import archive
from tests.cluster.kept import kept, last_kept


def unpacked(*targets: str) -> Path:
    """A folder for `lay_out`, with the images of these targets.

    Raises:
        ToolMissing: see `images.archive`.
        subprocess.CalledProcessError: an image could not be built, or not be unpacked; it has been said why.
    """
    archives = [archive(target) for target in targets]
    kind = f"unpacked.{'.'.join(targets)}"

    def unpack(path: Path) -> None:
        path.mkdir()
        server = Containerd(path)
        before = last_kept(kind)
        if before:
            lay_out(before / "root", server.root)
        try:
            server.start()
            with server.replacing():
                for each in archives:
                    server.load(each)
        finally:
            server.stop()

    version = subprocess.run(["containerd", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return kept(kind, f"{version} {archives}", unpack) / "root"


def lay_out(images: Path, root: Path) -> None:
    """Give a containerd that was not started yet a root with images in it.

    What was unpacked is never written to, only lain over; just the lists of what there is are a containerd's own.
    """
    root.mkdir(parents=True)
    links = "--link" if images.stat().st_dev == root.stat().st_dev else "--reflink=auto"
    subprocess.run(["cp", "--archive", links, f"{images}/.", str(root)], check=True)
    for ours in root.glob("*/*.db"):
        ours.unlink()
        shutil.copy(images / ours.relative_to(root), ours)
