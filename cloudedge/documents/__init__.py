"""The documents that people, cloud and edge exchange. Nothing in here does input or output.

Every document carries a `schema_version`; an unknown one is refused. Each field states its unit, bounds and meaning once:
the JSON Schema in `docs/schemas/` and the error messages come from there.
"""

from cloudedge.documents.base import Document, canonical_json, parse
from cloudedge.documents.data import DataFormat, SampleField
from cloudedge.documents.event import Event
from cloudedge.documents.fusion import ContributionRecord, FusionRecord, LeftOut
from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.kinds.evaluate import Evaluate, Evaluated
from cloudedge.documents.kinds.train import Train, Trained
from cloudedge.documents.manifest import Manifest, OutputFile
from cloudedge.documents.order import Envelope, Inbox, Order, RemoteFile, UploadTarget, order_id
from cloudedge.documents.report import EpochRecord, History, Phase, Point, Report, Scores, Stream, WorkError
from cloudedge.documents.task import Task
from cloudedge.documents.tasks import read_task
from cloudedge.documents.tasks.collaborative_training import Collaboration, Fusion, TrainingTask
from cloudedge.documents.training import ModelSpec, Recollection, Training

__all__ = [
    "Collaboration",
    "ContributionRecord",
    "DataFormat",
    "Document",
    "Envelope",
    "EpochRecord",
    "Evaluate",
    "Evaluated",
    "Event",
    "Fusion",
    "FusionRecord",
    "History",
    "Inbox",
    "LeftOut",
    "Manifest",
    "ModelSpec",
    "Order",
    "OutputFile",
    "Phase",
    "Point",
    "Recollection",
    "RemoteFile",
    "Report",
    "Result",
    "SampleField",
    "Scores",
    "Stream",
    "Task",
    "Train",
    "Trained",
    "Training",
    "TrainingTask",
    "UploadTarget",
    "Work",
    "WorkError",
    "canonical_json",
    "order_id",
    "parse",
    "read_task",
]
