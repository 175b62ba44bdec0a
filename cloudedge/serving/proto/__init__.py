"""The Open Inference Protocol's messages, as protoc makes them of `inference.proto`; see `generating`."""
