"""The documents' JSON Schemas, as files that editors and other programs read.

`python -m cloudedge.schemas` writes them to `docs/schemas/`; with `--check` it says which ones are out of date and ends with 1.
"""

import json
import sys
from pathlib import Path

from cloudedge.documents import DataFormat, Event, FusionRecord, History, Inbox, Manifest, Order, Report, TrainingTask
from cloudedge.documents.automl import Calibration, DeviceDescription, SearchRecord
from cloudedge.documents.base import Part
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.detector import DetectorConfiguration, Verdict
from cloudedge.documents.sweep import SweepFile
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask

FOLDER = Path("docs/schemas")

DOCUMENTS: dict[str, type[Part]] = {
    "automl-meta-task": AutomlMetaTask,
    "data-format": DataFormat,
    "calibration": Calibration,
    "detector": DetectorConfiguration,
    "deployable": Deployable,
    "device": DeviceDescription,
    "edge-automl-task": EdgeAutomlTask,
    "event": Event,
    "fusion-record": FusionRecord,
    "history": History,
    "inbox": Inbox,
    "inspection-deployment-task": InspectionDeploymentTask,
    "inspection-training-task": InspectionTrainingTask,
    "manifest": Manifest,
    "order": Order,
    "report": Report,
    "search": SearchRecord,
    "sweep": SweepFile,
    "task": TrainingTask,
    "verdict": Verdict,
}
"""Every document by the name of its schema's file."""


def schema_files() -> dict[str, bytes]:
    """Each schema's file name and content."""
    return {f"{name}.schema.json": _schema(document) for name, document in DOCUMENTS.items()}


def main(arguments: list[str]) -> int:
    """Write the schemas, or check them.

    Args:
        arguments: `--check` or nothing.

    Returns:
        Exit code: 1 if a file is out of date.
    """
    wanted = schema_files()
    found = {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
    if arguments == ["--check"]:
        stale = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        if stale:
            sys.stderr.write(f"Out of date in {FOLDER}: {', '.join(stale)}. Run `make schemas`.\n")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in found.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_bytes(content)
    return 0


def _schema(document: type[Part]) -> bytes:
    schema = document.model_json_schema()
    # Editors look for the schema's address in the document itself; `parse` lets it pass.
    schema["properties"] = {"$schema": {"type": "string", "description": "Where this schema is, for editors."}} | schema[
        "properties"
    ]
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
