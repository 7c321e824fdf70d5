"""Messages between nodes: decoding and encoding."""
