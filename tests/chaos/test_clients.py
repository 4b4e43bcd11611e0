"""Clients that end in any way they like: no process, folder or thread stays behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.chaos.scripts import are_gone, script, until

BUSY = """
    import os, sys, threading, time
    from pathlib import Path
    import dask
    import cloudoffload as co
    folder = Path(sys.argv[1])
    def sleep(parts):
        Path(*parts, "begun").touch()
        time.sleep(900)
    def main():
        emulate = tuple(sys.argv[2:])
        session = co.Session(emulate=emulate, providers=emulate or ("local",), workers=2)
        dask.delayed(sleep)(list(folder.parts)).compute(scheduler=session)
    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("cloud", [(), ("aws",)], ids=["local", "aws"])
def test_a_client_that_is_killed(tmp_path: Path, cloud: tuple[str, ...], how: signal.Signals) -> None:
    """Its processes end by themselves, also in the middle of a call; its folder is swept by the next session."""
    with script(tmp_path, BUSY, *cloud) as running:
        running.has_made("begun")
        family = running.family()
        assert len(family) >= 2
        left = running.stores()
        assert len(left) == (not cloud)
        running.process.send_signal(how)
        assert running.ended()[0] == -how
        until(lambda: are_gone(family), "its processes end")
    sweeper = """
        import cloudoffload as co
        with co.Session(providers=("local",), workers=1):
            pass
    """
    with script(tmp_path, sweeper) as running:
        assert running.ended() == (0, "", "")
        assert running.stores() == []


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise LookupError", 1),
        ("threading.Thread(target=work, daemon=True).start(); started.wait()", 0),
    ],
    ids=["end", "exit", "exception", "daemon thread"],
)
@pytest.mark.parametrize("block", ["with", "without"])
def test_a_script_that_ends(tmp_path: Path, end: str, status: int, block: str) -> None:
    """In its block or without one: at the end, by an exit, by an exception, with a thread that still computes."""
    opening = "with co.Session(workers=2) as session:" if block == "with" else "session = co.Session(workers=2)\nif 1:"
    code = f"""
import sys, threading, time
import dask
import cloudoffload as co
started = threading.Event()
def work():
    session.events.subscribe(lambda event: started.set())
    dask.delayed(time.sleep)(900).compute(scheduler=session)
{opening}
    executor = session.executor()
    assert executor.submit(abs, -1).result() == 1
    kept = dask.persist(dask.delayed(bytes)(100_000), scheduler=session)
    assert len(dask.delayed(bytes)(100_000).compute(scheduler=session)) == 100_000
    open(sys.argv[1] + "/begun", "w").close()
    sys.stdin.readline()
    {end}
"""
    with script(tmp_path, code) as running:
        running.has_made("begun")
        family = running.family()
        assert len(family) == 2
        assert len(running.stores()) == 1
        running.go_on()
        found, out, err = running.ended()
        assert (found, out) == (status, "")
        if "thread" in end:
            assert not err or "cloudoffload.errors." in err, "the thread may still say what it was told"
        else:
            assert ("LookupError" in err) == bool(err) == (status == 1)
        until(lambda: are_gone(family), "its processes end")
        assert running.stores() == running.scratch() == []


def test_a_forked_child_ends_nothing(tmp_path: Path) -> None:
    """``os.fork`` copies the session's object; the processes stay the parent's."""
    code = """
        import os, sys
        import dask
        import cloudoffload as co
        session = co.Session(providers=("local",), workers=1)
        (kept,) = dask.persist(dask.delayed(bytes)(100_000), scheduler=session)
        child = os.fork()
        if not child:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert dask.delayed(len)(kept).compute(scheduler=session) == 100_000
        assert session.stats()["retries"] == 0
    """
    with script(tmp_path, code) as running:
        status, _, err = running.ended()
        assert (status, err) == (0, "")
        assert running.stores() == []


def test_two_clients_do_not_sweep_each_other(tmp_path: Path) -> None:
    """A folder in use is told from one that was left by its lock."""
    code = """
        import os, sys
        import dask
        import cloudoffload as co
        for _ in range(5):
            with co.Session(providers=("local",), workers=1):
                kept = dask.persist(dask.delayed(bytes)(100_000))[0]
                for _ in range(20):
                    assert dask.delayed(len)(kept).compute() == 100_000
    """
    with script(tmp_path, code) as one, script(tmp_path, code) as other:
        for running in (one, other):
            status, _, err = running.ended()
            assert (status, err) == (0, "")
        assert one.stores() == []
