"""Measurements beside what they are compared with, in one run. Nothing here is asserted."""
