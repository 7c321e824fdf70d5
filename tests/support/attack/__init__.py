"""A hostile stranger, a hostile member and a hostile relay, against three running daemons."""
