"""A meta model trained anew on a laptop: the whole pipeline, from searches in the store to a version in the registry."""

from pathlib import Path

import pytest

from cloud.searches import meta_models
from cloudedge.automl.meta.model import MetaModel
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.store import DirectoryStore
from tests.cloud.searches.rows import SMALLEST, happened, keep
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW
from tests.terminal import Cloudedge


@pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)
def test_searches_in_the_store_become_the_meta_model_that_leads_and_a_version_in_mlflow(
    tmp_path: Path, cloudedge: Cloudedge
) -> None:
    from mlflow import MlflowClient

    home, store = tmp_path / "home", DirectoryStore(tmp_path / "home" / "store")
    keep(store, happened(55, best=SMALLEST))
    for number in (1, 2):
        task = AutomlMetaTask(name="Meta model", id=f"meta-{number}", simulated_searches=100, row_weight=10)
        (tmp_path / f"meta-{number}.json").write_bytes(task.to_json())

    first = cloudedge("run", tmp_path / "meta-1.json", "--home", home, "--json")
    second = cloudedge("run", tmp_path / "meta-2.json", "--home", home)

    assert first.code == 0, first.err
    assert first.json["gate_passed"] is True
    assert first.json["searches"] == first.json["added"] == 55
    assert first.json["registered"] == {"model": "automl-meta", "version": 1}
    assert second.code == 0, second.err
    assert "No new meta model is due, and none was trained: 0 searches came since the last training" in second.out
    newest = meta_models.newest(store)
    assert newest is not None
    assert (newest.run, newest.weights.sha256) == ("meta-1", first.json["meta_model"]["sha256"])
    meta_models.bring(store, newest, tmp_path / "newest")
    assert MetaModel.load(tmp_path / "newest").card.simulated_rows == 100
    database = f"sqlite:///{home}/mlflow.db"
    client = MlflowClient(database, registry_uri=database)  # Another test in this process may have set another one for all.
    version = client.get_model_version_by_alias("automl-meta", "champion")
    assert version.tags["cloudedge.run"] == "meta-1"
    assert version.tags["cloudedge.compared_with"] == "shipped"
    run = client.get_run(str(version.run_id))
    assert run.data.metrics["held_out_nll/new"] < run.data.metrics["held_out_nll/in_use"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"meta.json", "report.html"}


def test_the_outcome_is_told_in_words_and_for_programs(tmp_path: Path, cloudedge: Cloudedge) -> None:
    task = AutomlMetaTask(name="Meta model", id="meta-1", every_rows=10)
    (tmp_path / "meta.json").write_bytes(task.to_json())
    store = DirectoryStore(tmp_path / "home" / "store")
    keep(store, happened(3))
    store.put("automl/trace/rubbish.json", b"{}")

    said = cloudedge("validate", tmp_path / "meta.json")
    ran = cloudedge("run", tmp_path / "meta.json", "--home", tmp_path / "home")
    shown = cloudedge("tasks", "show", "meta-1", "--home", tmp_path / "home", "--json")

    assert said.out.endswith("Meta model (meta-1), the meta model automl-meta, once 10 searches were added.\n")
    assert ran.code == 0, ran.err
    assert "hall-1  3         3                0" in ran.out
    assert "Of the trace's entries 1 cannot be believed and did not count; the log of the step 'learn' names them" in ran.out
    assert (shown.json["searches"], shown.json["meta_model"], shown.json["gate_passed"]) == (3, None, None)
    assert shown.json["devices"]["hall-1"]["meta"] == 3
