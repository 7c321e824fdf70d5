"""Agreeing with a peer."""
