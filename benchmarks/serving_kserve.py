"""KServe's own ModelServer with onnxruntime behind it, as a peer; its Python is that of `benchmarks.serving_peers`.

    python serving_kserve.py FOLDER HTTP_PORT GRPC_PORT

FOLDER has `<name>.onnx`. The sessions are set up as ours are.
"""

import sys
from pathlib import Path
from typing import Any

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Onnx(Model):
    """A model of one input and one output."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.stem)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        """Answer in bytes, as ours does."""
        given = payload.inputs[0]
        (found,) = self.session.run(None, {given.name: given.as_numpy()})
        output = InferOutput(self.session.get_outputs()[0].name, list(found.shape), "FP32")
        output.set_data_from_numpy(found, binary_data=True)
        return InferResponse(payload.id or "1", self.name, [output])


if __name__ == "__main__":
    server = ModelServer(http_port=int(sys.argv[2]), grpc_port=int(sys.argv[3]), enable_latency_logging=False)
    server.start([Onnx(path) for path in sorted(Path(sys.argv[1]).glob("*.onnx"))])
