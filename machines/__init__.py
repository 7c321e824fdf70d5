"""The two state machines of Gangline, and the values in their states and events.

Pure: no clock, no I/O, no logging. Imports only msgspec and the standard library (protocol §12).
"""
