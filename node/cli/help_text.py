"""What ``--help`` says of each command, from its docstring: what it does, an example, how it ends.

Stands under ``main.py``. A docstring's last paragraphs are ``Example: …`` (further lines belong to
it) and ``Exits: …`` (the codes beside 0 and 2); ``reference.py`` makes docs/cli.md of the same.
"""

import inspect
from collections.abc import Callable
from typing import Any

import typer

from node.system.exit_codes import MEANING, Exit

AS_IT_STANDS = "\b"
"""Says that the lines of a paragraph are not to be filled."""


def teach(app: typer.Typer) -> None:
    """Give every command of an application, and of those below it, its help."""
    for command in app.registered_commands:
        text, example, codes = parts(_doc(command.callback))
        command.help = text
        # Given whole, it is wrapped; left to the library, it is cut off in the middle.
        command.short_help = text.partition("\n\n")[0].replace("\n", " ")
        command.epilog = _epilog(example, codes)
    for group in app.registered_groups:
        below = group.typer_instance
        assert below is not None
        if below.registered_callback is not None:
            _, example, codes = parts(_doc(below.registered_callback.callback))
            below.info.epilog = _epilog(example, codes)
        teach(below)


def _doc(function: Callable[..., Any] | None) -> str:
    return (function.__doc__ if function is not None else None) or ""


def _epilog(example: list[str], codes: list[Exit]) -> str:
    return "\n\n".join(
        "\n".join((AS_IT_STANDS, title, *(f"  {line}" for line in lines)))
        for title, lines in (("Example:", example), ("Ends with:", ending(codes)))
        if lines
    )


def parts(doc: str) -> tuple[str, list[str], list[Exit]]:
    """A docstring's text, the lines of its example, and how the command may end."""
    example: list[str] = []
    codes: list[Exit] = []
    text = []
    for paragraph in inspect.cleandoc(doc).split("\n\n"):
        name, colon, rest = paragraph.partition(":")
        if colon and name == "Example":
            first, *more = rest.split("\nExits:")
            example = inspect.cleandoc(first).splitlines()
            codes = [Exit(int(one)) for one in "".join(more).split()]
        else:
            text.append(paragraph)
    return "\n\n".join(text), example, codes


def ending(codes: list[Exit]) -> list[str]:
    """Exit codes and what they mean, a line each."""
    shown = {Exit.DONE, Exit.USAGE, *codes} if codes else ()
    return [f"{code:>3}  {MEANING[code]}" for code in sorted(shown)]
