"""Containers of the images, run as a node runs them: by containerd, on a read-only file system."""

import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import IO, Any

from tests.cluster.processes import Server

_OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""In these namespaces everything that containerd starts and mounts ends with it, also when it is killed."""

_START = 'mount -t tmpfs tmpfs /run && exec containerd --config "$0"'


@dataclass(frozen=True)
class Container:
    """What is run: an image, a command in place of the image's own, and what it is given.

    Attributes:
        image: Name of an image that was loaded.
        command: Words of the command; none: the image's own.
        mounts: Folders of this machine by their paths inside. Those that it may write to end in `:rw`.
        environment: Variables beside the image's own.
        host_network: Whether it shares this machine's network; else it has none.
    """

    image: str
    command: Sequence[str] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False


class Containerd:
    """A containerd of a test's own.

    Attributes:
        root: Where it keeps images.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare one."""
        self.root = folder / "root"
        self._folder = folder
        self._short = TemporaryDirectory(prefix="cloudedge-")  # A socket's path may have 104 characters.
        self._socket = Path(self._short.name, "containerd.sock")
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.root}"\nstate = "{folder}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self._socket}"\n'
        )
        self._server = Server([*_OWN, "sh", "-c", _START, config], folder / "containerd.log")

    def start(self) -> None:
        """Start it."""
        self._server.start(
            lambda: self._socket.exists() and subprocess.run(self._ctr("version"), capture_output=True).returncode == 0
        )

    def stop(self) -> None:
        """End it and whatever it runs, for good."""
        self._server.kill()
        self._short.cleanup()

    def load(self, archive: Path) -> None:
        """Take the image of an archive that `buildah` wrote; of what is here already, nothing is read and hashed again."""
        lacking = self._folder / "lacking.tar"
        _write_lacking(archive, self.root / "io.containerd.content.v1.content" / "blobs" / "sha256", lacking)
        subprocess.run(self._ctr("images", "import", str(lacking)), check=True, stdout=subprocess.DEVNULL)
        lacking.unlink()

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Meanwhile `load` may take the names of images that are here; only afterwards is removed what no image has any more.

        Without a name, layers of the former image that the new one has too would be gone at any moment of its unpacking.
        """
        listed = subprocess.run(self._ctr("images", "list", "--quiet"), check=True, stdout=subprocess.PIPE, text=True).stdout
        former = {name: f"cloudedge.test/former:{number}" for number, name in enumerate(listed.split())}
        for name, other in former.items():
            subprocess.run(self._ctr("images", "tag", name, other), check=True, stdout=subprocess.DEVNULL)
        yield
        if former:
            subprocess.run(self._ctr("images", "remove", "--sync", *former.values()), check=True, stdout=subprocess.DEVNULL)

    def run(self, container: Container) -> "subprocess.CompletedProcess[str]":
        """Run to the end; both outputs are in `stdout`."""
        log = self._folder / secrets.token_hex(8)
        code = self.begin(container, log).wait()
        said = log.read_text()
        log.unlink()
        return subprocess.CompletedProcess(container.command, code, said)

    def begin(self, container: Container, log: Path) -> "subprocess.Popen[bytes]":
        """Run beside the test, in a process that passes signals on and ends with the container's exit code."""
        with log.open("ab") as file:
            return subprocess.Popen(self._command(container, log), stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def _command(self, container: Container, log: Path) -> list[str]:
        # No control groups: nothing here is about limits. What a short container says gets lost on a busy machine where `ctr`
        # itself is to pass it on, as it may not have begun to read by then; to a file, containerd writes it.
        options = ["--rm", "--read-only", "--cgroup", "", "--log-uri", log.absolute().as_uri()]
        options += ["--mount", "type=tmpfs,src=tmpfs,dst=/tmp,options=mode=1777"]
        for inside, path in container.mounts.items():
            way = "rw" if inside.endswith(":rw") else "ro"
            options += ["--mount", f"type=bind,src={path},dst={inside.removesuffix(':rw')},options=rbind:{way}"]
        for name, value in container.environment.items():
            options += ["--env", f"{name}={value}"]
        if container.host_network:
            options.append("--net-host")
        return self._ctr("run", *options, container.image, secrets.token_hex(8), *container.command)

    def _ctr(self, *arguments: str) -> list[str]:
        return ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments]


def _write_lacking(image: Path, blobs: Path, path: Path) -> None:
    """Write an image's archive in OCI's format, but without the blobs that a containerd has."""
    with tarfile.open(image) as whole, tarfile.open(path, "w") as part:

        def read(name: str) -> IO[bytes]:
            content = whole.extractfile(name)
            assert content is not None
            return content

        def add(name: str, size: int, content: IO[bytes]) -> None:
            member = tarfile.TarInfo(name)
            member.size = size
            part.addfile(member, content)

        def add_blob(digest: str, size: int, content: IO[bytes], kind: str) -> dict[str, Any]:
            if not (blobs / digest).exists():
                add(f"blobs/sha256/{digest}", size, content)
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": size}

        def add_member(name: str, kind: str) -> dict[str, Any]:
            return add_blob(PurePath(name).stem, whole.getmember(name).size, read(name), kind)

        (found,) = json.load(read("manifest.json"))
        layers = [add_member(name, "layer.v1.tar") for name in found["Layers"]]
        config = add_member(found["Config"], "config.v1+json")
        manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
        entry = add_blob(hashlib.sha256(manifest).hexdigest(), len(manifest), io.BytesIO(manifest), "manifest.v1+json")
        entry["annotations"] = {"io.containerd.image.name": found["RepoTags"][0]}
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        layout = b'{"imageLayoutVersion": "1.0.0"}'
        add("oci-layout", len(layout), io.BytesIO(layout))
        add("index.json", len(index), io.BytesIO(index))
