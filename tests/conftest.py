"""What holds for every test: surroundings of its own, and no law that a slow machine can break."""

import signal
import time

import pytest
from hypothesis import settings

# A deadline is a timed assertion; the blob replays a failure that the local database does not hold.
settings.register_profile("gangline", deadline=None, print_blob=True)
settings.load_profile("gangline")

pytest_plugins = ["tests.support.tools.skips"]


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory):
    """No test finds the node, the colours or the width of whoever runs it.

    Started in the background of a script, it would pass on to its children that Ctrl-C is ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GANGLINE_HOME", "FORCE_COLOR", "COLUMNS"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def zone(monkeypatch):
    """Put this process into another time zone, as ``TZ`` names it."""

    def put(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()
