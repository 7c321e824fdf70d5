"""Sockets, TLS, the hello, bounds and bans."""
