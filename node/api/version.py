"""Which version of the local API a daemon speaks, said in a header of its every answer.

Stands between ``daemon.py`` and ``node/client/http_client.py``. A command may be newer than the
daemon that runs, as after an update, or older; what it would read wrongly it must not read at all.
"""

from typing import Final

API: Final = 1
"""Goes up with every change that a command, or a daemon, of before would take wrongly."""
API_HEADER: Final = "gangline-api"
SERVER_HEADER: Final = "server"
PRODUCT: Final = "gangline/"
"""What the server header begins with; the release follows."""
RELEASE_SHOWN: Final = 32


def release() -> str:
    """The release that is installed."""
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and rarely asked

    return version("gangline")


def headers() -> list[tuple[str, str]]:
    """What a daemon says of itself."""
    return [(SERVER_HEADER, f"{PRODUCT}{release()}"), (API_HEADER, str(API))]


def why_not(api: str, server: str) -> str:
    """Why an answer cannot be read; empty where it can.

    Args:
        api: what the daemon says it speaks; empty where it says nothing.
        server: what it calls itself.
    """
    if api == str(API):
        return ""
    told = server.removeprefix(PRODUCT)[:RELEASE_SHOWN]
    theirs = f"release {told}" if server.startswith(PRODUCT) else "another release"
    speaks = f"version {api}" if api.isdecimal() else "no version"
    return (
        f"the daemon here is of {theirs} of gangline and speaks {speaks} of the local API, this "
        f"command is of release {release()} and speaks version {API}; start the daemon anew with "
        "the same one: gangline stop, then: gangline run"
    )
