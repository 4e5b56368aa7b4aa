"""The walls of the house: who may import whom, read from the sources."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("realtime", "models", "export")
SOURCES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 400


# Who may import whom, by room. A room is a folder, or a file beside the folders; each may import itself, and what its row names.
FLOORS: dict[str, str] = {
    "realtime.errors": "",
    "realtime.process": "",
    "realtime.midi": "",
    "realtime.reading": "errors",
    "realtime.music": "errors midi",
    "realtime.core": "music midi",
    "realtime.composing": "core music midi",
    "realtime.editing": "errors music",
    "realtime.simulate": "composing core music midi",
    "realtime.config_file": "reading errors",
    "realtime.config_music": "errors music",
    "realtime.config": "config_file config_music errors midi music",
    "realtime.io.clock": "",
    "realtime.io.progress": "",
    "realtime.io.midi": "errors midi",
    "realtime.io.files": "core music midi reading errors",
    "realtime.io.graphs": "composing music reading errors",
    "realtime.io.live": "io.midi io.files io.graphs io.clock simulate composing core music midi config reading errors",
    "realtime.io.offline":
        "io.progress io.live io.files io.graphs io.clock composing editing core music midi config reading errors",
    "realtime.io.bench":
        "io.progress io.live io.midi io.files io.graphs io.clock simulate composing core music midi config errors",
    "realtime.io.doctor": "io.live io.midi io.graphs io.clock composing music midi errors",
    "realtime.options": "io.live io.files config errors",
    "realtime.file_commands": "options io.live io.offline",
    "realtime.cli": "file_commands process options io.live io.bench io.doctor io.files config errors",
    "models.command": "realtime.errors",
    "models.bootstrap": "",
    "models.nets": "realtime",
    "models.corpus": "models.nets models.command realtime",
    "models.training": "models.corpus models.nets models.command realtime",
    "models.evaluation": "models.training models.corpus models.nets models.command models.bootstrap realtime",
    "models.ablation":
        "models.evaluation models.training models.corpus models.nets models.command models.bootstrap realtime",
    "export": "models.evaluation models.training models.corpus models.nets models.command realtime",
}  # fmt: skip
PURE = {f"realtime.{room}" for room in ("errors", "midi", "music", "core", "composing", "editing", "simulate")}
"""The rooms of `realtime` that are pure: no I/O, no threads, no clock."""
TRAINING = {"torch", "onnx", "onnxscript", "safetensors", "symusic", "tensorboard"}
# What reaches outside of the process, waits, or reads a clock.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "multiprocessing", "os", "pathlib", "queue", "select",
    "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


@cache
def imports(path: Path) -> frozenset[str]:
    """Full dotted names of everything imported, at the top or inside of a function: "realtime.io.midi.ports", "torch"."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.with_suffix("").parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (package, node.module) if part)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def in_package(package: str) -> list[Path]:
    return [path for path in SOURCES if path.parts[0] == package]


def room_of(module: Path | str) -> str:
    """The room of a file or of a dotted name; "" for a package's `__init__`, a command of models, and what is not ours."""
    parts = module.with_suffix("").parts if isinstance(module, Path) else tuple(module.split("."))
    for length in (3, 2, 1):
        if ".".join(parts[:length]) in FLOORS:
            return ".".join(parts[:length])
    return ""


def allowed(room: str) -> set[str]:
    """The rooms that `room` may import; a name without its package is one of realtime's."""
    names = {name if name.split(".")[0] in PACKAGES else f"realtime.{name}" for name in FLOORS[room].split()}
    return {room} | {other for other in FLOORS if other in names or other.split(".")[0] in names}


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path)], ids=str)
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    rooms = {room_of(name) for name in imports(path)} - {""}
    assert rooms <= allowed(room_of(path))


def test_every_file_is_in_a_room_or_is_a_command() -> None:
    for path in SOURCES:
        command = path.parent == Path("models") and "exit_status" in (ROOT / path).read_text(encoding="utf-8")
        assert room_of(path) or path.name == "__init__.py" or command, f"{path}: give it a room, or the table a row"


def test_no_two_rooms_import_each_other() -> None:
    below: dict[str, set[str]] = {}
    for room in FLOORS:  # the table is in order: what a room may import stands above it
        assert allowed(room) <= {room, *below}, room
        below[room] = allowed(room)


@pytest.mark.parametrize("path", in_package("realtime"), ids=str)
def test_realtime_knows_nothing_of_training(path: Path) -> None:
    assert not tops(path) & (TRAINING | {"models", "export"})


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if room_of(path) in PURE],
    ids=str,
)
def test_the_core_is_pure(path: Path) -> None:
    assert tops(path) <= set(sys.stdlib_module_names) | {"numpy", "realtime"}
    assert not tops(path) & IMPURE


@pytest.mark.parametrize("path", in_package("realtime"), ids=str)
def test_one_place_for_each_thing(path: Path) -> None:
    in_io = path.parts[1] == "io"
    if "time" in tops(path):
        assert in_io
    if tops(path) & {"rtmidi", "onnxruntime", "mido", "socket", "multiprocessing", "subprocess", "threading"}:
        assert in_io
    if "matplotlib" in tops(path):
        assert path.name == "pianoroll.py"


def test_onnxruntime_is_imported_in_one_place() -> None:
    tests = (path.relative_to(ROOT) for path in (ROOT / "tests").glob("*.py"))
    importers = [path for path in (*SOURCES, *tests) if "onnxruntime" in tops(path)]
    assert importers == [Path("realtime/io/graphs/runtime.py")], "it has to be loaded with its telemetry off"


@pytest.mark.parametrize("path", in_package("realtime"), ids=str)
def test_matplotlib_waits_until_something_is_drawn(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in at_top if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in at_top if isinstance(node, ast.ImportFrom)}
    assert not {name for name in modules if name.split(".")[0] == "matplotlib"}


@pytest.mark.parametrize(
    "path", [*SOURCES, *(path.relative_to(ROOT) for path in (ROOT / "tests").glob("*.py"))], ids=str
)
def test_files_stay_readable(path: Path) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= MAX_LINES
