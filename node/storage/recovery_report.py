"""The result of rebuilding a damaged store, counted and in a sentence. Source: protocol §11."""

from dataclasses import dataclass
from pathlib import Path

from node.system.plurals import counted


@dataclass(slots=True)
class RecoveryReport:
    """Counts of a rebuild.

    Attributes:
        aside: the damaged file.
        remembered: the daemon still had all records in memory.
        kept: records whose signature verifies.
        recalled: how many of those came from memory, since they could not be read.
        bad: records that were found, but do not verify.
        unread: parts that could not be read.
        older: some pages were older than the rest.
        left: damaged rows of other tables, left out.
        old_tickets: the tickets were older than the rest, so none was kept.
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
        """Whether a record may be missing."""
        return bool(self.bad or self.unread or self.older) and not self.remembered

    @property
    def message(self) -> str:
        """The result in a sentence for the operator."""
        one = self.kept == 1
        parts = [
            (
                f"{self.kept or 'no'} record{'' if one else 's'} of the damaged store "
                f"{'verifies and was' if one else 'verify and were'} kept"
            )
        ]
        if self.bad:
            parts.append("1 does not verify" if self.bad == 1 else f"{self.bad} do not verify")
        if self.unread:
            parts.append(f"{counted(self.unread, 'part')} of it could not be read")
        if self.older:
            parts.append("a part of it is older than the rest")
        if self.left:
            one = self.left == 1
            parts.append(
                f"{counted(self.left, 'other row')} {'is' if one else 'are'} damaged and left out"
            )
        if self.old_tickets:
            parts.append("its tickets are older than the rest and all invalid now")
        if self.remembered:
            parts.append(f"{self.recalled or 'none'} came from this daemon's memory")
        return f"{', '.join(parts)}; it is kept as {self.aside}"
