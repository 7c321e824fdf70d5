"""Disks and networks that fail on purpose."""
