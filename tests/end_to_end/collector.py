"""A collector of traces: OTLP over gRPC, with OpenTelemetry's own message definitions."""
import concurrent.futures
import threading
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that come; use as a context manager."""

    def __init__(self):
        self.spans = []
        self.resources = []
        self.arrived = threading.Condition()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *error):
        self.server.stop(None).wait()

    def Export(self, request, context):  # noqa: N802, gRPC's name
        with self.arrived:
            for of_resource in request.resource_spans:
                self.resources.append(of_resource.resource)
                for of_scope in of_resource.scope_spans:
                    self.spans += of_scope.spans
            self.arrived.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans_of(self, trace_id, number, seconds=20):
        """Waits for so many spans of a trace, in hexadecimal digits."""
        deadline = time.monotonic() + seconds
        with self.arrived:
            while True:
                found = [span for span in self.spans if span.trace_id.hex() == trace_id]
                if len(found) >= number:
                    return found
                assert self.arrived.wait(deadline - time.monotonic()), f"{len(found)} of {number} spans of {trace_id} came"


def attributes(span_or_resource):
    """Name to value."""
    def value_of(value):
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [value_of(item) for item in value.array_value.values]
        return getattr(value, kind)
    return {item.key: value_of(item.value) for item in span_or_resource.attributes}
