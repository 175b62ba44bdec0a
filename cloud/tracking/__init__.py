"""What a run tells MLflow. Steps write records into the run's store; a relay carries them to MLflow.

No step waits for MLflow or fails with it, and nothing is lost while it is away. Importing MLflow costs seconds and is done by
the relay alone, when it has something to send; nothing else in here may import it.
"""

from cloud.tracking.database import address_of
from cloud.tracking.log import TrackingLog
from cloud.tracking.mlflow_records import (
    NOTE_TAG,
    Ancestor,
    Dataset,
    MetricPoint,
    Registered,
    Registration,
    TrackingRecord,
    flat_params,
)
from cloud.tracking.relay import Relay, is_owed, mlflow_run_of, registered_of, trouble_of

__all__ = [
    "NOTE_TAG",
    "Ancestor",
    "Dataset",
    "MetricPoint",
    "Registered",
    "Registration",
    "Relay",
    "TrackingLog",
    "TrackingRecord",
    "address_of",
    "flat_params",
    "is_owed",
    "mlflow_run_of",
    "registered_of",
    "trouble_of",
]
