"""Locks exclude, outlive the removal of their file, and programs that fail say why."""

import multiprocessing
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from okitoki_local.system import CommandFailed, LocalClusterError, locked, run, wait_until


def hold(path: Path, entered: Event, leave: Event) -> None:
    with locked(path, "a test"):
        entered.set()
        leave.wait(20)
        path.unlink()


def test_a_lock_is_exclusive_even_when_its_holder_removes_the_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    path, entered, leave, got = tmp_path / "lock", context.Event(), context.Event(), threading.Event()
    holder = context.Process(target=hold, args=(path, entered, leave))
    holder.start()
    assert entered.wait(20)

    def take() -> None:
        with locked(path, "a test"):
            got.set()

    waiter = threading.Thread(target=take)
    waiter.start()
    assert not got.wait(0.3)
    leave.set()
    holder.join(20)
    waiter.join(20)
    assert got.is_set()
    assert path.exists()


def test_a_failed_program_is_reported_with_what_it_printed() -> None:
    with pytest.raises(CommandFailed, match=r"code 3:\nsorry"):
        run(["sh", "-c", "echo sorry >&2; exit 3"])


def test_waiting_gives_up_with_the_state_that_never_came() -> None:
    with pytest.raises(LocalClusterError, match="waiting for rain"):
        wait_until("rain", lambda: False, timeout=0.05, interval=0.01)
