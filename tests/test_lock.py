"""The lock file has a version for all that is installed to run the tests, within the bounds of pyproject.toml."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = [
    *PROJECT["dependencies"],
    *PROJECT["optional-dependencies"]["train"],
    *PROJECT["optional-dependencies"]["test"],
]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_for_is_locked_within_its_bounds(asked: str) -> None:
    requirement = Requirement(asked)
    assert {specifier.operator for specifier in requirement.specifier} in ({">=", "<"}, {"=="}, set()), asked
    if requirement.marker is None or requirement.marker.evaluate(LINUX):
        assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)]), asked


def test_all_that_is_installed_for_these_is_locked() -> None:
    known, waiting = locked(), [Requirement(asked) for asked in ASKED]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = ["", *requirement.extras]
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            continue
        assert name in known, f"{requirement} is not in requirements.lock"
        try:
            needs = [Requirement(need) for need in requires(requirement.name) or []]
        except PackageNotFoundError:
            continue
        if name == "torch":
            continue  # what it needs differs from build to build: CUDA's needs triton and a dozen more
        for extra in extras:
            if (key := f"{name}[{extra}]") in seen:
                continue
            seen.add(key)
            waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
