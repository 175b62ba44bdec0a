"""The programs that a test cluster is made of, built from pinned sources by Go's own tool directives.

    python -m tests.cluster.tools [PROGRAM...]
    python -m tests.cluster.tools --packages

Each lands in $CLOUDEDGE_CLUSTER_TOOLS, else in a folder of the user's cache that all checkouts share; one that was built
from the same pins by the same Go is left alone. Programs of Kubernetes are also taken from $KUBEBUILDER_ASSETS, where the
envtest convention puts them.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

GO = Path(__file__).parent / "go"
LEAST_GO = (1, 21)
_AT_ONCE = 2
_COMPILER_FLAGS = "all=-dwarf=false"
"""What the linker would drop is not made: a sixth less to do."""


@dataclass(frozen=True)
class Program:
    """How a program is built: the folder of its pins, its package, and where its version is written into it.

    Attributes:
        part: Which part of a test cluster it belongs to.
        beside: A folder of YAML in the versioned module that is laid beside the program.
        static: Whether it is to run without a system around it.
        lacking: A file that the versioned module was published without, and another of its files that has the same in it.
    """

    module: str
    package: str
    version_variable: str = ""
    versioned_by: str = ""
    part: str = "servers"
    beside: str = ""
    static: bool = False
    lacking: tuple[str, str] | None = None


_KUBERNETES = ("k8s.io/component-base/version.gitVersion", "k8s.io/kubernetes")
_ARGO = ("github.com/argoproj/argo-workflows/v4.version", "github.com/argoproj/argo-workflows/v4")
_KUBEFLOW = "github.com/kubeflow/pipelines/backend/src"
_KUBEEDGE = ("github.com/kubeedge/kubeedge/pkg/version.gitVersion", "github.com/kubeedge/kubeedge")
_SIGNALS = "workflow/executor/osspecific/signal_{}.go"
_ARGO_LACKS = (_SIGNALS.format("linux"), _SIGNALS.format("darwin"))
PROGRAMS = {
    "etcd": Program("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": Program("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", *_KUBERNETES),
    "kube-controller-manager": Program("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", *_KUBERNETES),
    "kube-scheduler": Program("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", *_KUBERNETES),
    "kubectl": Program("kubernetes", "k8s.io/kubernetes/cmd/kubectl", *_KUBERNETES),
    "minio": Program("minio", "github.com/minio/minio", static=True),
    "cloudcore": Program(
        "kubeedge", "github.com/kubeedge/kubeedge/cloud/cmd/cloudcore", *_KUBEEDGE, part="edge", beside="build/crds"
    ),
    "edgecore": Program("kubeedge", "github.com/kubeedge/kubeedge/edge/cmd/edgecore", *_KUBEEDGE, part="edge"),
    "pause": Program("pause", ".", part="edge", static=True),
    "kubeflow-pipelines": Program("kubeflow", f"{_KUBEFLOW}/apiserver", part="kubeflow"),
    "kubelet": Program("kubernetes", "k8s.io/kubernetes/cmd/kubelet", *_KUBERNETES, part="cloud"),
    "kube-proxy": Program("kubernetes", "k8s.io/kubernetes/cmd/kube-proxy", *_KUBERNETES, part="cloud"),
    "kube-router": Program(
        "kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", part="cloud", static=True
    ),
    "argo-controller": Program(
        "argo",
        f"{_ARGO[1]}/cmd/workflow-controller",
        *_ARGO,
        part="argo",
        beside="manifests/base/crds/minimal",
        static=True,
    ),
    "argoexec": Program("argo", f"{_ARGO[1]}/cmd/argoexec", *_ARGO, part="argo", static=True, lacking=_ARGO_LACKS),
    "kubeflow-agent": Program("kubeflow", f"{_KUBEFLOW}/agent/persistence", part="argo"),
    "kubeflow-driver": Program("kubeflow", f"{_KUBEFLOW}/v2/cmd/driver", part="argo", static=True),
    "kubeflow-launcher": Program("kubeflow", f"{_KUBEFLOW}/v2/cmd/launcher-v2", part="argo", static=True),
    "driver": Program("kubeflow", "./driver", part="argo", static=True),
}
PACKAGES = {
    "browser": {"chromium": "chromium"},
    "kubeflow": {"mariadbd": "mariadb-server-core", "my_print_defaults": "mariadb-client-core"},
    "images": {
        "buildah": "buildah",
        "containerd": "containerd",
        "ctr": "containerd",
        "debootstrap": "debootstrap",
        "runc": "runc",
    },
    "cloud": {"conntrack": "conntrack", "dnsmasq": "dnsmasq-base", "ipset": "ipset"},
    "argo": {"python3.11": "python3.11"},
    "edge": {
        "/usr/lib/cni/bridge": "containernetworking-plugins",
        "ip": "iproute2",
        "iptables": "iptables",
        "nsenter": "util-linux",
        "unshare": "util-linux",
    },
}
"""By part: programs that the system has to have, and the package of Debian that has each."""

ROOTS = frozenset(("images", "edge"))
"""Parts that root alone can run."""


class ToolMissing(Exception):
    """A program, or what builds it, is not on this machine."""


def folder() -> Path:
    """Where built programs lie."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("CLOUDEDGE_CLUSTER_TOOLS") or cache / "cloudedge" / "test-cluster")


def program(name: str) -> Path:
    """A program that was built or brought here.

    Raises:
        ToolMissing: it was not.
    """
    for place in (str(folder()), os.environ.get("KUBEBUILDER_ASSETS", "")):
        found = shutil.which(name, path=place) if place else None
        if found:
            return Path(found)
    raise ToolMissing(f"{name} is not built: make cluster-tools")


def missing(parts: Collection[str]) -> list[str]:
    """How to get what some parts of a test cluster need and is not here; nothing: all is."""
    built = all(_here(name) for name, wanted in PROGRAMS.items() if wanted.part in parts)
    packages = lacking_packages(parts)
    ways = [f"apt-get install {' '.join(packages)}"] if packages else []
    if not ROOTS.isdisjoint(parts) and not _may_make_machines():
        ways.append("be root on a machine where root may make namespaces, mounts and links")
    return ways if built else [*ways, "make cluster-tools"]


def lacking_packages(parts: Collection[str]) -> list[str]:
    """Packages of Debian that some parts of a test cluster need and that are not here, sorted."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    needed = {name: package for part in parts for name, package in PACKAGES.get(part, {}).items()}
    return sorted({package for name, package in needed.items() if not shutil.which(name, path=path)})


@cache
def _may_make_machines() -> bool:
    """Whether this process may do what a container's root often may not."""
    try_it = "mount -t tmpfs tmpfs /mnt && ip link add wire type veth peer name end && ip link add switch type bridge"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", try_it]
    try:
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _here(name: str) -> bool:
    try:
        program(name)
    except ToolMissing:
        return False
    return True


def beside(name: str) -> Path:
    """The folder of YAML that was built with a program."""
    return program(name).with_name(f"{name}.d") if _here(name) else folder() / f"{name}.d"


def build(name: str) -> str:
    """Build a program unless it is built.

    Returns:
        What was done, for a person.

    Raises:
        ToolMissing: there is no Go, or it is too old.
        subprocess.CalledProcessError: the build failed; Go has said why.
    """
    wanted = PROGRAMS[name]
    where = GO / wanted.module
    flags = ["-s", "-w"]
    if wanted.version_variable:
        listed = _go(["list", "-m", "-f", "{{.Version}}", wanted.versioned_by], where)
        flags += ["-X", f"{wanted.version_variable}={listed}"]
    pins = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(where.rglob("*.*")))).hexdigest()
    stamp = f"{pins} {_checked_go(where)} {_COMPILER_FLAGS} {flags} {wanted.static}\n"
    target, stamped = folder() / name, folder() / ".stamps" / name
    if target.exists() and stamped.exists() and stamped.read_text() == stamp:
        return f"{name}: up to date"
    stamped.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    fresh = target.with_name(f"{name}.new")
    with TemporaryDirectory() as room:
        options = _completed(wanted, where, Path(room)) if wanted.lacking else []
        options += ["-gcflags", _COMPILER_FLAGS, "-ldflags", " ".join(flags), "-o", str(fresh)]
        _go(["build", *options, wanted.package], where, cgo=not wanted.static)
    if wanted.beside:
        module = Path(_go(["list", "-m", "-f", "{{.Dir}}", wanted.versioned_by], where))
        shutil.rmtree(beside(name), ignore_errors=True)
        shutil.copytree(module / wanted.beside, beside(name), copy_function=shutil.copyfile)
    fresh.replace(target)
    stamped.write_text(stamp)
    return f"{name}: built in {time.monotonic() - began:.0f} s, {target.stat().st_size >> 20} MiB"


def _completed(wanted: Program, where: Path, room: Path) -> list[str]:
    """Options to build from a copy of the versioned module that has the file which it lacks."""
    assert wanted.lacking is not None
    lacking, alike = wanted.lacking
    copy, pins = room / "module", room / "go.mod"
    shutil.copytree(_go(["list", "-m", "-f", "{{.Dir}}", wanted.versioned_by], where), copy, copy_function=shutil.copyfile)
    (copy / lacking).parent.chmod(0o755)
    shutil.copyfile(copy / alike, copy / lacking)
    for each in ("go.mod", "go.sum"):
        shutil.copyfile(where / each, room / each)
    _go(["mod", "edit", f"-replace={wanted.versioned_by}={copy}", str(pins)], where)
    return [f"-modfile={pins}"]


def _checked_go(where: Path) -> str:
    """Version of the Go that builds, which is the one that the pins ask for.

    Raises:
        ToolMissing: there is none, or it is too old to fetch another.
    """
    least = ".".join(map(str, LEAST_GO))
    try:
        found = _go(["env", "GOVERSION"], where)
    except FileNotFoundError:
        raise ToolMissing(f"Go is not here: install Go {least} or later, https://go.dev/dl") from None
    except subprocess.CalledProcessError:
        found = ""
    numbers = [int(number) for number in found.removeprefix("go").split(".")[:2] if number.isdigit()]
    if tuple(numbers) < LEAST_GO:
        raise ToolMissing(f"Go is {found or 'too old'}: install {least} or later, https://go.dev/dl")
    return found


def _go(arguments: list[str], where: Path, *, cgo: bool = True) -> str:
    # No workspace, and not a byte that depends on this folder's name. Go fetches the version that the pins ask for.
    settings = {"GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": str(int(cgo))}
    done = subprocess.run(
        ["go", *arguments], cwd=where, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def main() -> int:
    """Build programs; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build what a test cluster is made of.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"Of {', '.join(PROGRAMS)}; none: all.")
    parser.add_argument("--packages", action="store_true", help="Build nothing; print which packages of Debian are lacking.")
    options = parser.parse_args()
    if options.packages:
        print(*lacking_packages(PACKAGES))
        return 0
    names = options.programs or list(PROGRAMS)
    unknown = sorted(set(names) - set(PROGRAMS))
    if unknown:
        parser.error(f"nothing is known of {', '.join(unknown)}")
    from filelock import FileLock  # Packages are asked for before anything is installed.

    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(PROGRAMS[name].module, []).append(name)
    folder().mkdir(parents=True, exist_ok=True)
    # Beside each other, as a build ends with a single linker; but not those that compile the same libraries.
    with FileLock(folder() / ".lock"), ThreadPoolExecutor(_AT_ONCE) as pool:  # Other checkouts build into the same folder.
        return next(filter(None, list(pool.map(_build_told, modules.values()))), 0)


def _build_told(names: list[str]) -> int:
    """Build programs, and tell of each; returns the exit code."""
    for name in names:
        try:
            print(build(name), flush=True)
        except ToolMissing as error:
            print(error, file=sys.stderr)
            return 3
        except subprocess.CalledProcessError as error:
            print(f"{name} could not be built: {' '.join(error.cmd[:2])} ended with {error.returncode}.", file=sys.stderr)
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
