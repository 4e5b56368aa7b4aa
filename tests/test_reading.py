"""Files of users, read up to a bound."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from realtime.errors import UserError
from realtime.reading import check_no_pipe, read_whole


def test_a_file_may_be_as_long_as_is_allowed_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for size, words in ((1 << 10, "1 KB"), (3 << 20, "3 MB")):
        path.write_bytes(bytes(size))
        assert read_whole(path, size, "a song") == bytes(size)
        path.write_bytes(bytes(size + 1))
        with pytest.raises(UserError) as error:
            read_whole(path, size, "a song")
        assert str(error.value) == f"{path}: larger than {words}, the most that is allowed; give a smaller one"


@pytest.mark.parametrize("name", ["nowhere", ".", "a" * 300, "a\0b"], ids=["none", "a folder", "too long", "no name"])
def test_what_cannot_be_read_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(.+\); give a song$") as error:
        read_whole(tmp_path / name, 100, "a song")
    assert str(error.value).startswith(str(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such devices")
def test_a_device_that_never_ends_is_read_up_to_the_bound() -> None:
    with pytest.raises(UserError, match="larger than 1 MB"):
        read_whole(Path("/dev/zero"), 1 << 20, "a file")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_named_pipe_is_refused_and_one_that_a_shell_passes_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mid")
    with pytest.raises(UserError, match=r"pipe\.mid: cannot be read \(a named pipe, .*\); give a song$"):
        read_whole(tmp_path / "pipe.mid", 100, "a song")
    with pytest.raises(UserError, match=r"pipe\.mid: cannot be read \(a named pipe, .*\); give a sound$"):
        check_no_pipe(tmp_path / "pipe.mid", "a sound")
    end, begin = os.pipe()
    os.write(begin, b"notes")
    os.close(begin)
    assert read_whole(Path(f"/dev/fd/{end}"), 100, "a song") == b"notes"
    os.close(end)


def test_it_may_be_opened_in_another_way(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.write_bytes(b"within")
    assert read_whole(Path("archive.zip"), 6, "an archive", lambda: inside.open("rb")) == b"within"
    with pytest.raises(UserError, match=r"archive\.zip: larger than 0 KB"):
        read_whole(Path("archive.zip"), 5, "an archive", lambda: os.fdopen(os.open(inside, os.O_RDONLY), "rb"))
