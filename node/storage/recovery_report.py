"""What came of making a damaged store anew, and how that is told.

Stands under ``recovery_scan.py``, which counts, and ``recovery.py``, which tells. Source: protocol
§11.
"""

from dataclasses import dataclass
from pathlib import Path

from node.system.plurals import counted


@dataclass(slots=True)
class RecoveryReport:
    """What came of it.

    Attributes:
        remembered: the daemon that wrote them knew all of its records still.
        kept: records whose signature holds.
        recalled: of those, how many were not to be read and came from that daemon.
        bad: records that were there, and are not what their author signed.
        unread: stretches that could not be read at all.
        older: some of its pages were older than the rest.
        left: rows that are no records, and are not as they were written.
        old_tickets: one that was withdrawn since may have been among the tickets: all were left.
    """

    aside: Path
    remembered: bool = False
    kept: int = 0
    recalled: int = 0
    bad: int = 0
    unread: int = 0
    older: bool = False
    left: int = 0
    old_tickets: bool = False

    @property
    def lacks(self) -> bool:
        """Whether a record that was written may be missing."""
        return bool(self.bad or self.unread or self.older) and not self.remembered

    @property
    def message(self) -> str:
        """What an operator should know."""
        one = self.kept == 1
        told = [
            (
                f"{self.kept or 'no'} record{'' if one else 's'} of the damaged store "
                f"{'verifies and was' if one else 'verify and were'} kept"
            )
        ]
        if self.bad:
            told.append("1 does not verify" if self.bad == 1 else f"{self.bad} do not verify")
        if self.unread:
            told.append(f"{counted(self.unread, 'part')} of it could not be read")
        if self.older:
            told.append("a part of it is older than the rest")
        if self.left:
            one = self.left == 1
            what = "1 other row was" if one else f"{self.left} other rows were"
            told.append(f"{what} left out, not being as {'it was' if one else 'they were'} written")
        if self.old_tickets:
            told.append("its tickets are older than the rest, and none works any longer")
        if self.remembered:
            told.append(f"{self.recalled or 'none'} had to come from this daemon's memory")
        return f"{', '.join(told)}; it is kept as {self.aside}"
