"""Callers of the local API."""
