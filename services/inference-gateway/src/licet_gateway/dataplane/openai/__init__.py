"""OpenAI's chat completions, completions and embeddings, translated to and from KServe's gRPC; pure."""
