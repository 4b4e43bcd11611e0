"""Ctrl-C: it ends at any moment, leaves nothing behind, and says what was spent."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.scripts import are_gone, script, until

SPENT = "cloudoffload: stopped; $"

SLEEPER = """
    import sys, time
    from pathlib import Path
    import dask
    import cloudoffload as co
    parts = Path(sys.argv[1]).parts
    def sleep(parts):
        Path(*parts, "begun").touch()
        time.sleep(900)
    def main():
        emulate = tuple(sys.argv[2:])
        with co.Session(emulate=emulate, providers=emulate or ("local",), workers=2) as session:
            {run}
    if __name__ == "__main__":
        main()
"""
COMPUTE = "dask.delayed(sleep)(list(parts)).compute()"


@pytest.mark.parametrize("cloud", [(), ("aws",)], ids=["local", "aws"])
@pytest.mark.parametrize(
    "run",
    [
        COMPUTE,
        "co.offload(sleep, over=[list(parts)] * 8)",
        "session.executor().submit(sleep, list(parts)).result()",
        "dask.persist(dask.delayed(sleep)(list(parts)))",
    ],
    ids=["compute", "offload", "executor", "persist"],
)
def test_in_the_middle_of_a_call_of_15_minutes(tmp_path: Path, cloud: tuple[str, ...], run: str) -> None:
    """The script ends by the interrupt, its processes and folders are gone, its last line names the money."""
    with script(tmp_path, SLEEPER.replace("{run}", run), *cloud) as running:
        running.has_made("begun")
        family = running.family()
        assert len(family) >= 2
        running.process.send_signal(signal.SIGINT)
        status, out, err = running.ended()
        assert status == -signal.SIGINT
        assert out == ""
        assert err.count("Traceback (most recent call last)") == 1, err
        assert err.splitlines()[-2] == "KeyboardInterrupt"
        assert err.splitlines()[-1].startswith(SPENT)
        until(lambda: are_gone(family), "its processes end")
        assert running.stores() == running.scratch() == []


def test_a_script_that_catches_it_goes_on(tmp_path: Path) -> None:
    """The session is as good as before: what was cancelled is booked, and the workers are back."""
    # One worker: it must be back from the call that nobody waits for.
    code = SLEEPER.replace("workers=2", "workers=1").replace(
        "{run}",
        """
            try:
                dask.delayed(sleep)(list(parts)).compute()
            except KeyboardInterrupt as stop:
                print(stop.__notes__[0])
            print(dask.compute(*[dask.delayed(abs)(-i) for i in range(5)]))
            print(session.stats()["in_flight"], session.ledger.reserved == 0)
        """,
    )
    with script(tmp_path, code) as running:
        running.has_made("begun")
        running.process.send_signal(signal.SIGINT)
        status, out, err = running.ended()
        assert (status, err) == (0, "")
        note, *rest = out.splitlines()
        assert note.startswith(SPENT)
        assert rest == ["(0, 1, 2, 3, 4)", "0 True"]


SLOW = """
    import sys, time
    from contextlib import suppress
    from pathlib import Path
    import dask
    import cloudoffload as co
    from cloudoffload.store.folder import FolderStore
    folder = Path(sys.argv[1])
    class SlowStore(FolderStore):
        # A link so slow that an interrupt surely comes during the transfer, which does not hear it.
        def {verb}(self, *arguments):
            (folder / "begun").touch()
            while True:
                with suppress(KeyboardInterrupt):
                    time.sleep(900)
    def main():
        with co.Session(providers=("local",), workers=1) as session:
            clouds = session._open().services.clouds
            clouds.store.__class__ = SlowStore
            {run}
    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize(
    ("verb", "run"),
    [
        ("put_if_absent", "dask.delayed(len)(b'x' * 100_000).compute()"),
        ("read", "dask.delayed(bytes)(100_000).compute()"),
        ("read", "dask.persist(dask.delayed(bytes)(100_000))[0].compute(scheduler='sync')"),
    ],
    ids=["upload", "download", "load"],
)
def test_in_the_middle_of_a_transfer(tmp_path: Path, verb: str, run: str) -> None:
    """A transfer can't be interrupted; the user does not wait for it."""
    with script(tmp_path, SLOW.replace("{verb}", verb).replace("{run}", run)) as running:
        running.has_made("begun")
        family = running.family()
        running.process.send_signal(signal.SIGINT)
        status, _, err = running.ended()
        assert status == -signal.SIGINT
        assert err.splitlines()[-1].startswith(SPENT)
        until(lambda: are_gone(family), "its processes end")
        assert running.stores() == []


def test_no_transfer_begins_after_it(tmp_path: Path) -> None:
    """Of fifty uploads those under way end by themselves; the others are not wanted any more."""
    code = """
        import sys, threading
        from pathlib import Path
        import dask
        import cloudoffload as co
        from cloudoffload.store.folder import FolderStore
        begun, go = [], threading.Event()
        class SlowStore(FolderStore):
            def put_if_absent(self, key, pieces):
                if "/data/" in key:
                    begun.append(key)
                    Path(sys.argv[1], "begun").touch()
                    go.wait(60)
                return True
        with co.Session(providers=("local",), workers=1) as session:
            session._open().services.clouds.store.__class__ = SlowStore
            try:
                dask.compute(*[dask.delayed(len)(bytes([i]) * 100_000) for i in range(50)])
            except KeyboardInterrupt:
                go.set()
        print(len(begun) <= 8)
    """
    with script(tmp_path, code) as running:
        running.has_made("begun")
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == (0, "True\n", "")


def test_while_a_session_starts(tmp_path: Path) -> None:
    """What was started already is stopped again."""
    code = """
        import sys
        from pathlib import Path
        import psutil
        import cloudoffload as co
        from cloudoffload.providers.local import Local
        class Begun(Local):
            def __init__(self, **arguments):
                Path(sys.argv[1], "begun").touch()
                __import__("time").sleep(900)
        import cloudoffload.providers.local
        cloudoffload.providers.local.Local = Begun
        try:
            co.Session(emulate=("aws",), workers=1).__enter__()
        except KeyboardInterrupt:
            print(psutil.Process().children())
    """
    with script(tmp_path, code) as running:
        running.has_made("begun")
        family = running.family()
        assert len(family) >= 2
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == (0, "[]\n", "")
        assert are_gone(family)
        assert running.stores() == running.scratch() == []


def test_many_interrupts(tmp_path: Path) -> None:
    """Somebody who presses it again and again still gets rid of everything."""
    with script(tmp_path, SLEEPER.replace("{run}", COMPUTE)) as running:
        running.has_made("begun")
        family = running.family()
        while running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(0.02)
        running.ended()
        until(lambda: are_gone(family), "its processes end")


@pytest.mark.parametrize("moment", range(6))
def test_at_any_moment(tmp_path: Path, moment: int) -> None:
    """Small computations one after the other, interrupted wherever the interrupt happens to come."""
    code = """
        import sys
        from pathlib import Path
        import dask
        import cloudoffload as co
        def main():
            with co.Session(providers=("local",), workers=2) as session:
                dask.delayed(abs)(-1).compute()
                Path(sys.argv[1], "begun").touch()
                while True:
                    parts = [dask.delayed(bytes)(20_000 + i) for i in range(20)]
                    assert dask.delayed(len)(dask.delayed(b"".join)(parts)).compute() == 400_190
        if __name__ == "__main__":
            main()
    """
    with script(tmp_path, code) as running:
        running.has_made("begun")
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(0.037 * moment)
        running.process.send_signal(signal.SIGINT)
        status, _, err = running.ended()
        assert status == -signal.SIGINT, err
        assert "KeyboardInterrupt" in err
        assert running.stores() == []


STREAM = "for _ in session.stream(dask.delayed(sleep)(list(parts))): pass"
OFFLOAD = "co.offload(sleep, over=[list(parts)] * 8)"


@pytest.mark.parametrize(
    ("run", "cloud"),
    [(COMPUTE, ()), (COMPUTE, ("aws",)), (OFFLOAD, ()), (STREAM, ())],
    ids=["compute", "aws", "offload", "stream"],
)
def test_who_is_terminated_says_what_was_spent(tmp_path: Path, run: str, cloud: tuple[str, ...]) -> None:
    """SIGTERM ends the process as ever, with its own status; the last line names the money."""
    with script(tmp_path, SLEEPER.replace("{run}", run), *cloud) as running:
        running.has_made("begun")
        family = running.family()
        running.process.terminate()
        status, out, err = running.ended()
        assert (status, out) == (-signal.SIGTERM, "")
        assert err.startswith(SPENT) and err.count("\n") == 1, err
        assert ("more for calls that may still run" in err) == bool(cloud)
        until(lambda: are_gone(family), "its processes end")


@pytest.mark.parametrize(
    ("handler", "status", "said"),
    [("lambda *_: (print('mine', flush=True), os._exit(3))", 3, "mine\n"), ("signal.SIG_IGN", 0, "went on\n")],
    ids=["handled", "ignored"],
)
def test_the_user_s_own_way_with_sigterm_stays(tmp_path: Path, handler: str, status: int, said: str) -> None:
    """Whoever handles or ignores the signal is not disturbed, and nothing is said in their place."""
    run = f"""
            import os, signal
            signal.signal(signal.SIGTERM, {handler})
            def nap(parts):
                Path(*parts, "begun").touch()
                while not Path(*parts, "go on").exists():
                    time.sleep(0.02)
            dask.delayed(nap)(list(parts)).compute()
            print("went on")
    """
    with script(tmp_path, SLEEPER.replace("{run}", run)) as running:
        running.has_made("begun")
        running.process.terminate()
        (tmp_path / "go on").touch()
        assert running.ended() == (status, said, "")


def test_nothing_is_said_for_a_process_that_is_not_at_work(tmp_path: Path) -> None:
    """Between computations, and in a child that was forked in the middle of one, SIGTERM has its default."""
    run = """
            import os, signal
            from cloudoffload.engine.spending import telling_spend
            dask.delayed(abs)(-1).compute()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            begun, begin = os.pipe()
            with telling_spend(session.ledger):
                if (child := os.fork()) == 0:
                    os.write(begin, b"x")
                    time.sleep(900)
                os.read(begun, 1)
                os.kill(child, signal.SIGTERM)
                assert os.waitpid(child, 0)[1] == signal.SIGTERM
    """
    with script(tmp_path, SLEEPER.replace("{run}", run)) as running:
        assert running.ended() == (0, "", "")
