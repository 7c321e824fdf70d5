"""Turns a skipped test into a failed one, with ``NO_SKIPS=1``, as CI says.

A test is skipped where a tool is missing, so that anybody can run the others. CI installs every
tool; there a skip would be a test that nobody runs and nobody misses.
"""

import os

import pytest

BEYOND_INSTALLING = (
    "need root",
    "only root",
    "no network namespaces with",
    "no file system can be mounted here",
    "to break a file system by",
    "not a git checkout",
    "the originals do not lie beside this checkout",
    "callers come from all of 127.0.0.0/8",
    "other C libraries have no such knob",
    "this system has no /dev/full",
    "what /proc shows",
)
"""What the reason to skip says if no package would help: the kernel, the user, the checkout."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("NO_SKIPS"):
        reason = report.longrepr[2]
        if not any(words in reason for words in BEYOND_INSTALLING):
            report.outcome = "failed"
            report.longrepr = f"CI runs every test: {reason}"
    return report
