"""The error of this package: ``InvalidValue``.

It never contains the invalid value itself. A contradictory table of a machine is a mistake of ours
and raises a plain ``ValueError`` when the machine is built.
"""


class InvalidValue(ValueError):
    """A value breaks the rule of its type; nothing was built.

    >>> str(InvalidValue("a commit", "3 to 64 lower-case hex digits"))
    'a commit: 3 to 64 lower-case hex digits'

    Attributes:
        what: the type or the field, for a person.
        rule: the rule for valid values.
    """

    def __init__(self, what: str, rule: str) -> None:
        super().__init__(what, rule)
        self.what = what
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.what}: {self.rule}"
