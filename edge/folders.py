"""Where everything lies in a runner's state directory.

    STATE/ledger.db                     orders, outbox, points, trained models      (written by the runner)
    STATE/samples.db                    samples and the files they came from        (written by work and by site engineers)
    STATE/received/<order>/<file>       models from the cloud                       (the folder Q2)
    STATE/trained/<order>/<file>        what work made here, and its manifest       (the folder Q3)
    STATE/checkpoints/<order>.safetensors
    STATE/searches.db                   searches for models, under way and over     (the trace; written by work)
    STATE/telemetry.db                  what the device had to give and what waited, over the last week (written by the runner)
    STATE/device.json                   what cannot be measured on this device      (written by site engineers)
    STATE/calibrations/<form>.json      what networks cost here, for samples of a form
    STATE/runner.lock                   held by the one runner of this state
    STATE/workers.sock                  where the runner's own fork server listens
    STATE/line/                         where this is a production line's edge server:
        line.json                       what its service is told to do, which runs where this file is
        line.db                         members, what is wanted of detectors, deployments
        identity.pem                    the service's own key and certificate
        models/<sha256>.onnx            models that detectors fetch
        serving/                        the models that the edge server itself answers by
        history/                        images that detectors recorded, and their index
        line.sock                       where the service listens to the runner's work and the tools

Order ids and file names were checked against their patterns when the order was parsed, so they are safe as paths.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """The paths below one state directory."""

    state: Path

    @property
    def ledger(self) -> Path:
        """The runner's database."""
        return self.state / "ledger.db"

    @property
    def samples(self) -> Path:
        """The sample store's database."""
        return self.state / "samples.db"

    @property
    def lock(self) -> Path:
        """Held by the one runner of this state."""
        return self.state / "runner.lock"

    @property
    def socket(self) -> Path:
        """Where the runner's own fork server listens."""
        return self.state / "workers.sock"

    @property
    def all_received(self) -> Path:
        """Folder of all models from the cloud (Q2)."""
        return self.state / "received"

    @property
    def all_trained(self) -> Path:
        """Folder of all models trained here (Q3)."""
        return self.state / "trained"

    @property
    def all_checkpoints(self) -> Path:
        """Folder of all checkpoints."""
        return self.state / "checkpoints"

    @property
    def searches(self) -> Path:
        """Searches for models: the trace's database."""
        return self.state / "searches.db"

    @property
    def telemetry(self) -> Path:
        """What the device had to give and what waited for it, over the last week."""
        return self.state / "telemetry.db"

    @property
    def description(self) -> Path:
        """What cannot be measured on this device."""
        return self.state / "device.json"

    @property
    def calibrations(self) -> Path:
        """Folder of what was measured here of what networks cost."""
        return self.state / "calibrations"

    @property
    def line(self) -> Path:
        """Folder of the line's service."""
        return self.state / "line"

    @property
    def line_settings(self) -> Path:
        """What the line's service is told to do; it runs where this file is."""
        return self.line / "line.json"

    @property
    def line_database(self) -> Path:
        """Members, what is wanted of detectors, deployments."""
        return self.line / "line.db"

    @property
    def line_socket(self) -> Path:
        """Where the line's service listens to the runner's work and the tools."""
        return self.line / "line.sock"

    @property
    def line_models(self) -> Path:
        """Folder of the models that detectors fetch."""
        return self.line / "models"

    @property
    def line_serving(self) -> Path:
        """Folder of the models that the edge server itself answers by."""
        return self.line / "serving"

    @property
    def line_history(self) -> Path:
        """Folder of what detectors recorded, and its index."""
        return self.line / "history"

    def line_model(self, sha256: str) -> Path:
        """A model that detectors fetch."""
        return self.line_models / f"{sha256}.onnx"

    def received(self, order_id: str) -> Path:
        """Folder of what an order brought from the cloud."""
        return self.all_received / order_id

    def trained(self, order_id: str) -> Path:
        """Folder of what an order's work made."""
        return self.all_trained / order_id

    def manifest(self, order_id: str) -> Path:
        """Manifest of what an order's work made; written after the model, so it marks finished work."""
        return self.trained(order_id) / "manifest.json"

    def history(self, order_id: str) -> Path:
        """All points of an order, which the runner writes beside the manifest."""
        return self.trained(order_id) / "history.json"

    def checkpoint(self, order_id: str) -> Path:
        """Where an order's training goes on from."""
        return self.all_checkpoints / f"{order_id}.safetensors"
