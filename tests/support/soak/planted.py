"""Bugs that the laws must catch, each planted from outside for as long as a ``with`` lasts."""

import contextlib

from node.runtime.driver import Driver
from node.storage.store import Store


@contextlib.contextmanager
def _instead(owner, name, make):
    real = getattr(owner, name)
    setattr(owner, name, make(real))
    try:
        yield
    finally:
        setattr(owner, name, real)


def no_fsync_at_commit():
    """``synchronous=NORMAL``: a commit is not on disk when it returns."""

    def make(real):
        def opened(store, *args, **options):
            real(store, *args, **options)
            store._db.pragma("synchronous", "normal")

        return opened

    return _instead(Store, "__init__", make)


@contextlib.contextmanager
def publish_before_commit():
    """A batch waits for the next one, or for the end; what rests on it is let out meanwhile."""
    waiting = {}

    def commit_waiting(store, real):
        if store in waiting:
            real(store, *waiting.pop(store))

    def late(commit):
        def commit_later(store, *batch):
            commit_waiting(store, commit)
            waiting[store] = batch

        return commit_later

    commit = Store.commit

    def closing(close):
        def close_later(store):
            commit_waiting(store, commit)
            close(store)

        return close_later

    with _instead(Store, "commit", late), _instead(Store, "close", closing):
        yield


def witness_before_commit():
    """The witness runs ahead of the store."""

    def make(real):
        def commit(store, *batch):
            store._guard.note(store._writes + 1)
            real(store, *batch)

        return commit

    return _instead(Store, "commit", make)


def commit_on_the_loop():
    """The loop waits for the disk."""

    def make(_real):
        async def on_disk(driver, work):
            return work(driver.store)

        return on_disk

    return _instead(Driver, "on_disk", make)


PLANTED = {
    bug.__name__: bug
    for bug in (
        no_fsync_at_commit,
        publish_before_commit,
        witness_before_commit,
        commit_on_the_loop,
    )
}
