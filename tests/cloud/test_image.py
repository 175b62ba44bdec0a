"""Names of images, before they become part of a manifest."""

import pytest

from cloud.image import EDGE_IMAGE, checked_image
from cloudedge.errors import InvalidInput

DIGEST = f"@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "name", [EDGE_IMAGE, "edge", "registry.example:5000/team/edge", "registry.example/edge:V1_0-RC1", f"edge:1{DIGEST}"]
)
def test_what_a_registry_takes_is_taken(name: str) -> None:
    assert checked_image(name, "an edge") == name


@pytest.mark.parametrize("name", ["", "Edge", "edge:", "edge:1 2", "../edge", "https://registry.example/edge", "edge@sha256:0"])
def test_what_none_takes_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}' cannot be the image of an edge"):
        checked_image(name, "an edge")
