"""HTTP/2 and gRPC framing on both sides of the gateway: state machines that need no socket."""
