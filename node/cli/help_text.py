"""Makes the ``--help`` of each command from its docstring: summary, text, example, exit codes.

A docstring ends with ``Example: …`` (more lines may follow) and ``Exits: …`` (the codes besides 0
and 2). ``reference.py`` writes docs/cli.md from the same help.
"""

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from node.system.exit_codes import MEANING, Exit

PANELS = ("Start", "Work", "Look", "Fleet", "Keep", "Deep")
NO_WRAP = "\b"
"""Before a paragraph: Click keeps its lines as they are."""


class GroupedCommands(TyperGroup):
    """A group whose help lists commands by ``rich_help_panel``.

    Typer does so itself only if Rich prints the help, and Rich is slow to import.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write one section for each panel, with the names of all sections in one column."""
        width = max(map(len, self.commands))
        for panel, names in panels(self).items():
            with formatter.section(panel):
                formatter.write_dl(
                    [
                        (name.ljust(width), self.commands[name].get_short_help_str(formatter.width))
                        for name in names
                    ]
                )


def panels(group: TyperGroup) -> dict[str, list[str]]:
    """The names of a group's commands, by the panel of the help that lists them."""
    found: dict[str, list[str]] = {panel: [] for panel in PANELS}
    for name, command in group.commands.items():
        found[getattr(command, "rich_help_panel", "")].append(name)
    return found


def fill_help(app: typer.Typer) -> None:
    """Set the help of every command of an application and of its groups."""
    for command in app.registered_commands:
        text, example, codes = parts(_doc(command.callback))
        command.help = text
        # Set here because Typer would cut it off after one line.
        command.short_help = text.partition("\n\n")[0].replace("\n", " ")
        command.epilog = _epilog(example, codes)
    for group in app.registered_groups:
        below = group.typer_instance
        assert below is not None
        if below.registered_callback is not None:
            _, example, codes = parts(_doc(below.registered_callback.callback))
            below.info.epilog = _epilog(example, codes)
        fill_help(below)


def _doc(function: Callable[..., Any] | None) -> str:
    return (function.__doc__ if function is not None else None) or ""


def _epilog(example: list[str], codes: list[Exit]) -> str:
    return "\n\n".join(
        "\n".join((NO_WRAP, title, *(f"  {line}" for line in lines)))
        for title, lines in (("Example:", example), ("Ends with:", ending(codes)))
        if lines
    )


def parts(doc: str) -> tuple[str, list[str], list[Exit]]:
    """Split a docstring into its text, the lines of its example, and its exit codes."""
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
    """Format exit codes and their meanings, one line each."""
    shown = {Exit.DONE, Exit.USAGE, *codes} if codes else ()
    return [f"{code:>3}  {MEANING[code]}" for code in sorted(shown)]
