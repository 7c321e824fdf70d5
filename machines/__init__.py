"""What may happen: the two state machines of Gangline and the values they are made of.

Stands below everything else: takes values and an instant, gives outcomes. Pure: no clock, no I/O,
no logging; imports msgspec and the standard library only (protocol §12).
"""
