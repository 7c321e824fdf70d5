"""The version of the local API, which a daemon sends in a header of every answer.

After an update a command may be newer or older than the running daemon. It must not read an answer
that it could misunderstand.
"""

from typing import Final

API: Final = 1
"""Raised with every change that an older command or daemon would misunderstand."""
API_HEADER: Final = "gangline-api"
SERVER_HEADER: Final = "server"
PRODUCT: Final = "gangline/"
"""The start of the server header; the release follows."""
RELEASE_SHOWN: Final = 32


def release() -> str:
    """The installed release."""
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and rarely used

    return version("gangline")


def headers() -> list[tuple[str, str]]:
    """The headers that every answer carries."""
    return [(SERVER_HEADER, f"{PRODUCT}{release()}"), (API_HEADER, str(API))]


def mismatch(api: str, server: str) -> str:
    """Describe why an answer cannot be read; empty if it can.

    Args:
        api: the daemon's API version header; empty if it is missing.
        server: the daemon's server header.
    """
    if api == str(API):
        return ""
    found = server.removeprefix(PRODUCT)[:RELEASE_SHOWN]
    theirs = f"release {found}" if server.startswith(PRODUCT) else "another release"
    speaks = f"version {api}" if api.isdecimal() else "no version"
    return (
        f"the running daemon is {theirs} of gangline and speaks {speaks} of the local API; this "
        f"command is release {release()} and speaks version {API}; restart the daemon with this "
        "release: gangline stop, then: gangline run"
    )
