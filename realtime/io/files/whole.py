"""Files written whole or not at all: asked beforehand whether they can be, then a temporary file and os.replace."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from realtime.errors import UserError

ADVICE = {
    errno.ENOSPC: "make room on the disk, or choose another one",
    errno.EDQUOT: "make room on the disk, or choose another one",
    errno.EROFS: "choose a disk that can be written",
    errno.ENOENT: "choose a folder that exists",
    errno.ENOTDIR: "choose a folder that exists",
    errno.EACCES: "choose a folder that is yours",
    errno.EPERM: "choose a folder that is yours",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def at_home(path: Path) -> Path:
    """The path with a `~` at its beginning replaced; one that names no user is a name like any other, as for a shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises for it, and where there is no home


def check_writable(path: Path) -> None:
    """Raise UserError now where `path` could not be written later. Leaves nothing behind."""
    probe = path.parent / f".{path.name}.{os.getpid()}.probe"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is a folder or a device; give the name of a file")
        # Tried, not asked: permission bits say little to root and on network drives.
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        raise _unwritable(path, error) from None


def are_same(one: Path, other: Path) -> bool:
    """Whether both names are those of one file that is there."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def check_kept(outputs: Iterable[Path], inputs: Mapping[str, Path]) -> None:
    """Raise UserError now where a file that is to be written is one of those that are read. inputs: by what each is."""
    for output in outputs:
        for use, path in inputs.items():
            if are_same(output, path):
                raise UserError(f"{output}: is {use}, which is only to be read; give another name for what is written")


def check_folder(folder: Path) -> None:
    """Raise UserError now where no file could be written into `folder` later; it need not exist. Leaves nothing behind."""
    made: list[Path] = []
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir()
            made.append(missing)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        for path in reversed(made):
            path.rmdir()


def write_bytes(path: Path, data: bytes) -> None:
    """The whole file or nothing: a temporary file in the same folder, then `os.replace`. Raises UserError."""
    # Not named after the file, whose name may be as long as names may be.
    temporary = path.parent / f".antiphon-{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def write_fresh(path: Path, data: bytes) -> Path:
    """The whole file or nothing, never over a file that is there: the name gets a number then. Returns the path. Raises
    UserError."""
    for name in (path, *(path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 1000))):
        try:
            name.open("xb").close()  # from here on the name is ours
        except FileExistsError:
            continue
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None
        try:
            write_bytes(name, data)
        except UserError:
            with suppress(OSError):
                name.unlink()
            raise
        return name
    raise UserError(f"{path}: is there already, a thousand times; choose another name")


def _unwritable(path: Path, error: OSError | ValueError) -> UserError:
    if not isinstance(error, OSError):
        return UserError(f"{path}: cannot be written ({error}); choose another name")
    advice = ADVICE.get(error.errno or 0, "choose another place")
    return UserError(f"{path}: cannot be written ({error.strerror}); {advice}")
