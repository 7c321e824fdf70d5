"""What is wrong with a value, as an exception that carries facts and no bytes of the value itself.

Stands beside ``values.py`` and the states and events, which raise it. Our own mistakes (a table
that contradicts itself) are found when a machine is built, never while it runs.

    ValueError
    └── InvalidValue    a value that breaks the rule of its type; nothing was built
"""


class InvalidValue(ValueError):
    """A value that breaks the rule of its type.

    Attributes:
        what: the type or field, in a person's words.
        rule: what a valid value looks like.
    """

    def __init__(self, what: str, rule: str) -> None:
        super().__init__(what, rule)
        self.what = what
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.what}: {self.rule}"
