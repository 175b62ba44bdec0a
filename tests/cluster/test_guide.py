"""The administrator's guide, typed word for word against real servers."""

import json
import shutil
from pathlib import Path

from cloudedge import __version__
from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer
from tests.cluster.site import MANIFESTS, Site
from tests.cluster.tools import program
from tests.docs.pages import ROOT
from tests.docs.reader import Reader


def test_an_administrator_gets_from_a_cluster_to_enrolled_edges(
    own_control_plane: ControlPlane, minio: MinioServer, tmp_path: Path
) -> None:
    place = tmp_path / "clone"
    place.mkdir()
    shutil.copytree(MANIFESTS, place / "manifests")
    (place / "machines" / "cloud").mkdir(parents=True)
    (place / "machines" / "cloud" / "week-1.csv").write_text("a,b\n1,2\n")
    site = Site(tmp_path, own_control_plane, minio, apply=False)
    environment = site.environment(own_control_plane.kubeconfig)
    ours = {name: value for name, value in environment.items() if name.startswith(("CLOUDEDGE_", "AWS_", "KUBECONFIG"))}
    reader = Reader(place, environment=ours)
    reader.add_program(program("kubectl"))
    reader.read(ROOT / "docs" / "guide-administrator.md")

    reaper = json.loads(site.kubectl("get", "cronjob", "cloudedge-reaper", "--namespace", "cloudedge", "--output", "json"))
    (container,) = reaper["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/cloudedge/cloud:{__version__}"
