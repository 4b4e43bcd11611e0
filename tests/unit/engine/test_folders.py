"""Folders of local stores: private, removed at the end, swept when their owner was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cloudoffload.engine.folders import local_store_folder
from cloudoffload.errors import SettingsError

OWNER = """
import sys
from pathlib import Path
from cloudoffload.engine.folders import local_store_folder
with local_store_folder(Path(sys.argv[1])):
    Path(sys.argv[1], "value").write_text("x")
    print("owned", flush=True)
    sys.stdin.read()
"""


def owner(folder: Path) -> subprocess.Popen[str]:
    """Another process that owns a folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "owned\n"
    return process


def test_a_folder_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    """Nobody else on the machine reads a run's values, and none stay behind."""
    folder = tmp_path / "runs" / "one"
    with local_store_folder(folder):
        (folder / "value").write_text("x")
        assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    assert list(folder.parent.iterdir()) == []


def test_a_folder_goes_when_its_block_fails(tmp_path: Path) -> None:
    """An exception changes nothing about that."""
    folder = tmp_path / "runs" / "one"
    with pytest.raises(KeyboardInterrupt), local_store_folder(folder):
        raise KeyboardInterrupt
    assert not folder.exists()


def test_what_a_killed_owner_left_is_swept_by_the_next(tmp_path: Path) -> None:
    """The lock ends with the process, however that ends."""
    left = tmp_path / "runs" / "left"
    process = owner(left)
    process.kill()
    process.wait()
    assert (left / "value").exists()
    with local_store_folder(tmp_path / "runs" / "next"):
        assert not left.exists()


def test_what_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """Also what is not a run's folder at all."""
    (tmp_path / "runs").mkdir(mode=0o700)
    (tmp_path / "runs" / "notes").mkdir()
    used = tmp_path / "runs" / "used"
    process = owner(used)
    with local_store_folder(tmp_path / "runs" / "mine"):
        assert (used / "value").exists()
        assert (tmp_path / "runs" / "notes").exists()
    process.communicate("")
    assert not used.exists()


def test_one_run_has_one_owner(tmp_path: Path) -> None:
    """A second client on the same run is refused, and neither waits nor deletes."""
    folder = tmp_path / "runs" / "one"
    process = owner(folder)
    with pytest.raises(SettingsError, match="'one' belongs to another Session"), local_store_folder(folder):
        pass
    assert (folder / "value").exists()
    process.communicate("")


def test_the_folder_of_a_killed_run_can_be_taken_over(tmp_path: Path) -> None:
    """Its name is free again."""
    folder = tmp_path / "runs" / "one"
    process = owner(folder)
    process.kill()
    process.wait()
    with local_store_folder(folder):
        assert folder.exists()


def test_a_place_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Whoever can rename folders there could slip values into a run."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o777)
    with pytest.raises(SettingsError, match="others may write"), local_store_folder(tmp_path / "runs" / "one"):
        pass
