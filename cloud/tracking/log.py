"""The records of a run in its store: steps append, the relay reads."""

from collections.abc import Iterator, Mapping, Sequence

from cloud.keys import run_key
from cloud.tracking.mlflow_records import Registration, TrackingBatch, TrackingRecord
from cloudedge.documents.base import parse
from cloudedge.store import Store

MAX_BATCH_BYTES = 64 * 1024 * 1024


class TrackingLog:
    """All that a run's steps have said for MLflow, one object for each time they said something."""

    def __init__(self, store: Store, run: str) -> None:
        """Read and write the log of one run.

        Args:
            store: Where the run is kept.
            run: Id of the run.
        """
        self._store = store
        self._prefix = run_key(run, "tracking", "records")

    def append(
        self,
        records: Sequence[TrackingRecord],
        name: str,
        registration: Registration | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Keep records for the relay.

        Args:
            records: What is new.
            name: Given by the step ('pretrain', 'wait-000003-000017'). Where it is the same when the step is repeated, that
                replaces what it had said.
            registration: A model to be registered.
            files: Keys of files to be shown with the run, by name.

        Raises:
            StoreFailed: the store does not do its work.
        """
        batch = TrackingBatch(records=tuple(records), registration=registration, files=dict(files or {}))
        self._store.put(self._key(name), batch.to_json())

    def versions(self) -> Iterator[tuple[str, str]]:
        """Name and version of each batch, sorted by name; the version changes whenever the batch is written again."""
        for entry in self._store.list(self._prefix):
            yield entry.key.removeprefix(f"{self._prefix}/").removesuffix(".json"), entry.version

    def read(self, name: str) -> TrackingBatch:
        """One batch.

        Raises:
            NotFound: there is none of that name.
            InvalidInput: it is malformed or too large.
        """
        key = self._key(name)
        return parse(TrackingBatch, self._store.get(key, MAX_BATCH_BYTES), key, MAX_BATCH_BYTES)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}.json"
