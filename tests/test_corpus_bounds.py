"""What a corpus may not do to its reader: bombs, files outside of it, devices and FIFOs."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="models need torch (pip install '.[train]')")

from models.corpus import corpora
from realtime.errors import UserError

MID = b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\x0c\0\x90<@`<\0\0\xff/\0"
TOO_LONG = corpora.MOST_MIDI_BYTES + 1


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("bomb.mid", bytes(TOO_LONG))
        z.writestr("ok.mid", MID)


def _tar(folder: Path) -> None:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        for name, data in (("bomb.mid", bytes(TOO_LONG)), ("ok.mid", MID)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.mid")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)


def _files(folder: Path) -> None:
    (folder / "bomb.mid").write_bytes(bytes(TOO_LONG))
    (folder / "ok.mid").write_bytes(MID)


def _device(folder: Path) -> None:
    (folder / "zero.mid").symlink_to("/dev/zero")
    (folder / "ok.mid").write_bytes(MID)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "fifo.mid")
    os.mkfifo(folder / "fifo.zip")
    (folder / "ok.mid").write_bytes(MID)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("make", [_zip, _tar, _files, _device, _fifo])
def test_what_is_no_midi_file_is_empty_and_the_rest_is_read(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    corpus = corpora.find(tmp_path)
    read = {row["path"]: data for row, data in corpora.read(tmp_path, corpus.rows)}
    assert read.pop("ok.mid") == MID
    assert not any(read.values())


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.mid", "a/../../secret.mid", "/dev/zero"])
def test_a_manifest_names_nothing_outside_of_the_corpus(path: str, tmp_path: Path) -> None:
    (tmp_path / "secret.mid").write_bytes(MID)
    root = tmp_path / "corpus"
    root.mkdir()
    for archive, name in (("", path), (path, "a.mid")):
        (root / "manifest.csv").write_text(
            f"id,source,tier,split,archive,path,sha1\na,x,main,train,{archive},{name},0\n"
        )
        rows = corpora.find(root).rows
        if archive:
            with pytest.raises(UserError, match="outside of the corpus"):
                list(corpora.read(root, rows))
        else:
            assert [data for _, data in corpora.read(root, rows)] == [b""]


def test_a_tar_is_read_up_to_what_would_take_minutes_to_unpack(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("ok.mid")
        info.size = len(MID)
        tar.addfile(info, io.BytesIO(MID))
        bomb = tarfile.TarInfo("bomb.bin")
        bomb.size = 1 << 40
        tar.addfile(bomb)  # its header alone
    corpus = corpora.find(tmp_path)
    assert [data for _, data in corpora.read(tmp_path, corpus.rows)] == [MID]
    assert "bomb.bin in it has 1048576 MB" in corpus.skipped["a.tar.gz"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_many_members_are_a_bomb_too(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is too long for a MIDI file."""
    monkeypatch.setattr(corpora, "MOST_TABLE_BYTES", 1 << 20)
    names = ["a.mid", *(f"bomb{number}.mid" for number in range(8)), "z.mid"]
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
            for name in names:
                z.writestr(name, bytes(1 << 20) if "bomb" in name else MID)
    else:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = 1 << 20 if "bomb" in name else len(MID)
                tar.addfile(info, io.BytesIO(bytes(1 << 20) if "bomb" in name else MID))
    corpus = corpora.find(tmp_path)
    assert [row["path"] for row in corpus.rows] in (["a.mid", "bomb0.mid"], ["a.mid", "bomb0.mid", "bomb1.mid"])
    assert "unpacks to more than" in "".join(corpus.skipped.values())


def test_a_name_of_megabytes_is_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("n" * (4 << 20) + ".mid", "ok.mid"):
            info = tarfile.TarInfo(name)
            info.size = len(MID)
            tar.addfile(info, io.BytesIO(MID))
    assert [row["path"] for row in corpora.find(tmp_path).rows] == ["ok.mid"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_manifest_is_a_regular_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "manifest.csv")
    with pytest.raises(UserError, match="cannot be read"):
        corpora.find(tmp_path)


def test_a_name_that_no_file_can_have_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id,source,tier,split,archive,path,sha1\na,x,main,train,,a\0.mid,0\n")
    assert [data for _, data in corpora.read(tmp_path, corpora.find(tmp_path).rows)] == [b""]


def test_a_table_that_is_nested_too_deep_is_said(tmp_path: Path) -> None:
    (tmp_path / "ok.mid").write_bytes(MID)
    (tmp_path / "match_scores.json").write_bytes(b"[" * 100_000)
    with pytest.raises(UserError, match=r"match_scores\.json cannot be read"):
        corpora.find(tmp_path)
