"""The lock file has a version for all that is installed to run the tests, within the bounds of pyproject.toml."""

from __future__ import annotations

import tomllib
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
