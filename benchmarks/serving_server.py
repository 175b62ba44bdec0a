"""Our server with models from a folder; `benchmarks.serving_peers` starts it.

    python -m benchmarks.serving_server FOLDER HTTP_PORT GRPC_PORT

FOLDER has `<name>.onnx` and `<name>.json`, its manifest.
"""

import sys
import tempfile
import threading
from pathlib import Path

from cloudedge.documents.deployable import Deployable
from cloudedge.serving.models import Models
from cloudedge.serving.servers import serve


def main(folder: Path, http: str, grpc: str) -> None:
    """Serve until the process is ended."""
    with tempfile.TemporaryDirectory() as place, Models(Path(place)) as models:
        for path in sorted(folder.glob("*.onnx")):
            deployable = Deployable.model_validate_json(path.with_suffix(".json").read_bytes())
            models.load(path.stem, models.put(deployable, path, path.stem)).result()
        with serve(models, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"):
            threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
