"""ML Metadata as a server, which Kubeflow's driver and launcher keep their notes in; it is published as a library alone.

    python3.11 metadata_server.py ADDRESS:PORT DATABASE

Run with ML Metadata in PYTHONPATH. Its C++ library takes and gives the bytes that travel, so nothing is translated here.
"""

import sys
from concurrent import futures

import grpc
from ml_metadata.metadata_store.pywrap.metadata_store_extension import metadata_store as library
from ml_metadata.proto import metadata_store_pb2


class _Service(grpc.GenericRpcHandler):
    def __init__(self, database: str) -> None:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = database
        self._store = library.CreateMetadataStore(
            config.SerializeToString(), metadata_store_pb2.MigrationOptions().SerializeToString()
        )

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        service, _, method = call.method.strip("/").rpartition("/")
        if service != "ml_metadata.MetadataStoreService" or not hasattr(library, method):
            return None

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            response, message, code = getattr(library, method)(self._store, request)
            if code:
                status = next(each for each in grpc.StatusCode if each.value[0] == code)
                context.abort(status, message.decode())
            return response

        return grpc.unary_unary_rpc_method_handler(answer)


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), handlers=[_Service(sys.argv[2])])
    server.add_insecure_port(sys.argv[1])
    server.start()
    server.wait_for_termination()
