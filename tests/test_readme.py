"""What the documentation says is there: every command is one that the program takes, those marked `run` run, and every file,
module and name on the pages about the code exists."""

from __future__ import annotations

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from realtime import cli
from realtime.errors import UserError
from realtime.io.live.settings import SHIPPED_MODEL

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/daw.md", "models/README.md", "CONTRIBUTING.md")
MAPS = ("docs/architecture.md", "CONTRIBUTING.md", "models/README.md")
FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TWO_COMMANDS = ("pip install . && antiphon demo", "pip install '.[train,test]' && pytest")


class Block(NamedTuple):
    """A fenced block of shell commands. `run`: marked as safe to run as written."""

    page: str
    line: int
    run: bool
    commands: list[str]


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf8") if (ROOT / page).exists() else ""
        for fence in FENCE.finditer(text):
            language, mark, body = fence.groups()
            line = text[: fence.start()].count("\n") + 1
            if language == "sh":
                found.append(Block(page, line, mark.strip() == "run", body.strip().splitlines()))
    return found


def programs() -> list[tuple[str, list[str]]]:
    """(where, words) of each `antiphon ...`, `python -m ...` and `torchrun ... -m ...` in a block."""
    found = []
    for block in blocks():
        for command in block.commands:
            for part in command.split("&&"):
                words = shlex.split(part.partition(">")[0], comments=True)
                if words and Path(words[0]).name in ("antiphon", "python", "torchrun"):
                    found.append((f"{block.page}:{block.line}", [Path(words[0]).name, *words[1:]]))
    return found


def test_the_two_commands_stand_as_they_should() -> None:
    commands = [command for block in blocks() if block.page == "README.md" for command in block.commands]
    assert tuple(commands[:2]) == TWO_COMMANDS


def test_ci_runs_the_readmes_line_with_the_locked_versions() -> None:
    line = TWO_COMMANDS[1].replace("pip install ", "pip install -c requirements.lock ", 1)
    assert line in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize(
    ("where", "words"),
    [entry for entry in programs() if entry[1][0] == "antiphon"],
    ids=str,
)
def test_antiphon_takes_the_command(where: str, words: list[str]) -> None:
    """Parsed by the program itself, and its values checked by the configuration where they are settings (of edit and infill they
    are none); a file that is a placeholder is left out."""
    group = typer.main.get_command(cli.app)
    assert words[1:], where
    command = group.commands[words[1]]  # type: ignore[attr-defined]
    given = command.make_context(words[1], words[2:]).params
    if words[1] in ("edit", "infill"):
        return
    try:
        cli.configuration(None, {name: value for name, value in given.items() if name != "bars" or words[1] == "jam"})
    except UserError as error:
        pytest.fail(f"{where}: {error}")


@pytest.mark.parametrize(
    ("where", "words"),
    [entry for entry in programs() if entry[1][0] != "antiphon"],
    ids=str,
)
def test_a_module_takes_the_command(where: str, words: list[str]) -> None:
    """Every option of the command is in the module's own help."""
    module = words.index("-m") + 1
    options = {word for word in words[module + 1 :] if word.startswith("-")}
    assert not options - set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(words[module]))), where


@functools.cache
def help_of(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.run], ids=lambda block: f"{block.page}:{block.line}"
)
def test_it_runs_as_written(block: Block, tmp_path: Path) -> None:
    if not SHIPPED_MODEL.exists():
        pytest.skip(f"the model that ships is not in this checkout: {SHIPPED_MODEL.name}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command in block.commands:
        words = shlex.split(command)
        assert words[0] == "antiphon"
        done = subprocess.run(
            [sys.executable, "-m", "realtime.cli", *words[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Files, and headings within our own pages."""
    text = (ROOT / page).read_text(encoding="utf8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_every_setting_the_readme_names_is_one() -> None:
    """Words in code style that look like a setting or an option are one."""
    from realtime.config import keys

    text = FENCE.sub("", (ROOT / "README.md").read_text(encoding="utf8"))
    settings = {key.split(".")[1] for key in keys()}
    for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)(?::[^`]*)?`", text):
        assert word in settings, word
    command = typer.main.get_command(cli.app)
    options = {
        option
        for sub in command.commands.values()  # type: ignore[attr-defined]
        for parameter in sub.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in re.findall(r"`(--[a-z-]+)[^`]*`", text):
        assert word in options, word


# --- the pages about the code ---


def named_on(page: str) -> set[str]:
    """What stands in code style on a page, blocks aside."""
    return set(re.findall(r"`([^`\n]+)`", FENCE.sub("", (ROOT / page).read_text(encoding="utf8"))))


@functools.cache
def defined(file: Path) -> frozenset[str]:
    """Names of a source file: its functions, classes and variables, and those of its classes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:length])
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if file.exists():
            return set(parts[length:]) <= defined(file)
    return False


@pytest.mark.parametrize("page", MAPS)
def test_files_and_modules_on_a_page_exist(page: str) -> None:
    for name in named_on(page):
        if re.fullmatch(r"(realtime|models|export|docs|tests|\.ci)/[\w./-]*", name):
            assert (ROOT / name).exists(), f"{page}: {name} is not there"
        elif re.fullmatch(r"(realtime|models|export)(\.\w+)+", name):
            assert is_there(name), f"{page}: {name} is not there"


def test_classes_and_constants_on_the_map_exist() -> None:
    names = frozenset().union(
        *(defined(path) for folder in ("realtime", "models", "tests") for path in (ROOT / folder).rglob("*.py"))
    )
    for name in named_on("docs/architecture.md"):
        if re.fullmatch(r"[A-Z]\w+(\.\w+)*(\(.*\))?", name) and name != "NAME":
            assert set(name.partition("(")[0].split(".")) <= names, f"docs/architecture.md: {name} is not there"


def test_every_file_of_the_program_is_on_the_map() -> None:
    named = named_on("docs/architecture.md")
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "realtime").rglob("*.py")}
    missing = sorted(file for file in files - named if not file.endswith("__init__.py"))
    assert not missing, f"docs/architecture.md: give a line to {', '.join(missing)}"
