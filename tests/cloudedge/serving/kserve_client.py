"""KServe's own clients ask a server; run by a Python that has them. Prints what they were told, as JSON.

python kserve_client.py HTTP_ADDRESS GRPC_ADDRESS MODEL
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


async def main(http: str, grpc: str, model: str) -> None:
    """Ask all that a client can ask."""
    found = {}
    row = np.array([[1, 2, 3, 4]], np.float32)
    url = f"http://{http}"
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    found["HTTP, live"] = await rest.is_server_live(url)
    found["HTTP, ready"] = await rest.is_server_ready(url)
    found["HTTP, model ready"] = await rest.is_model_ready(url, model)
    for in_bytes in (False, True):
        answer = await rest.infer(url, _request(model, row, in_bytes), model_name=model)
        found[f"HTTP, in bytes: {in_bytes}"] = answer.outputs[0].as_numpy().tolist()
    try:
        await rest.infer(url, _request("rye", row, True), model_name="rye")
    except Exception as error:
        found["HTTP, no such model"] = str(error)
    await rest.close()
    async with InferenceGRPCClient(grpc) as client:
        found["gRPC, live"] = await client.is_server_live()
        found["gRPC, ready"] = await client.is_server_ready()
        found["gRPC, model ready"] = await client.is_model_ready(model)
        for in_bytes in (False, True):
            answer = await client.infer(_request(model, row, in_bytes))
            found[f"gRPC, in bytes: {in_bytes}"] = answer.outputs[0].as_numpy().tolist()
    print(json.dumps(found))


def _request(model: str, row: np.ndarray, in_bytes: bool) -> InferRequest:
    given = InferInput("x", list(row.shape), "FP32")
    given.set_data_from_numpy(row, binary_data=in_bytes)
    return InferRequest(model, [given])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
