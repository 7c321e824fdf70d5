"""The local API: HTTP and JSON over a Unix socket."""
