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

# What is not the pure core, of the files outside of realtime/io: the edges towards the user.
EDGES = {Path("realtime", name) for name in ("cli.py", "config.py")}
CORE = [path for path in SOURCES if path.parts[:1] == ("realtime",) and path.parts[1] != "io" and path not in EDGES]
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


@pytest.mark.parametrize("path", in_package("realtime"), ids=str)
def test_realtime_knows_neither_training_nor_the_other_rooms(path: Path) -> None:
    assert not tops(path) & (TRAINING | {"models", "export"})


@pytest.mark.parametrize("path", in_package("models"), ids=str)
def test_models_know_nothing_of_export(path: Path) -> None:
    assert "export" not in tops(path)


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_is_pure(path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] == "realtime"}
    assert tops(path) <= set(sys.stdlib_module_names) | {"numpy", "realtime"}
    assert not tops(path) & IMPURE
    edges = {f"realtime.{edge.stem}" for edge in EDGES} | {"realtime.io"}
    assert not {name for name in ours if ".".join(name.split(".")[:2]) in edges}


@pytest.mark.parametrize("path", in_package("realtime"), ids=str)
def test_one_place_for_each_thing(path: Path) -> None:
    in_io = path.parts[1] == "io"
    if "time" in tops(path):
        assert in_io
    if tops(path) & {"rtmidi", "onnxruntime", "mido", "socket", "multiprocessing", "subprocess", "threading"}:
        assert in_io
    if "matplotlib" in tops(path):
        assert path.name == "pianoroll.py"


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
