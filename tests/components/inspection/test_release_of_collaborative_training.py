"""What collaborative training came to is deployed, too: to detectors if it judges images, else to the edge server alone."""

from pathlib import Path

import pytest

from cloudedge.documents.deployable import ImageForm
from cloudedge.documents.line import SERVER
from cloudedge.errors import InvalidInput
from components.begin.step import begin_run
from components.evaluate.step import evaluate_run
from components.inspection_deployment.release.step import release_model
from tests.components.cloud import Cloud
from tests.components.inspection.line import deployment_task


def trained(cloud: Cloud, digits: Path, dtype: str) -> str:
    """A run that has evaluated a model of samples of this type."""
    data = cloud.task.data
    field = data.fields[0].model_copy(update={"dtype": dtype})
    cloud.task = cloud.task.model_copy(update={"collaborate": False, "data": data.model_copy(update={"fields": (field,)})})
    cloud.pretrained()
    evaluate_run(cloud.task.id, str(digits / "test"))
    return cloud.task.id


def test_a_model_of_gray_images_goes_to_detectors(cloud: Cloud, digits: Path) -> None:
    task = deployment_task(model=trained(cloud, digits, "uint8"))
    begin_run(task)

    released = release_model(task.id).deployable

    assert (released.image, released.threshold) == (ImageForm(height=8, width=8), None)
    assert released.classes == cloud.task.data.classes


def test_a_model_of_other_samples_goes_to_the_edge_server_alone(cloud: Cloud, digits: Path) -> None:
    model = trained(cloud, digits, "float32")
    everywhere = deployment_task(id="everywhere", model=model)
    begin_run(everywhere)

    with pytest.raises(InvalidInput, match=r"takes image \(FP32 of shape .-1, 1, 8, 8.\), and a detector judges 8-bit images"):
        release_model(everywhere.id)

    to_server = deployment_task(id="to-server", model=model, detectors=(SERVER,))
    begin_run(to_server)
    assert release_model(to_server.id).deployable.image is None
