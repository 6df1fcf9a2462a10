"""poetry.lock, requirements.txt and pyproject.toml name the same packages."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest, which needs it there

PROJECT = Path(__file__).resolve().parents[1]
PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def read_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((PROJECT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def locked() -> set[tuple[str, str]]:
    return {
        (canonicalize_name(package["name"]), package["version"])
        for package in read_toml("poetry.lock")["package"]
    }


@pytest.fixture(scope="module")
def requirements() -> list[Requirement]:
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip()]


def direct_requirements() -> list[Requirement]:
    settings = read_toml("pyproject.toml")
    development = settings["tool"]["poetry"]["group"]["dev"]["dependencies"]
    return [
        *map(Requirement, settings["project"]["dependencies"]),
        *(Requirement(f"{name}{versions}") for name, versions in development.items()),
    ]


def test_requirements_are_what_is_locked(locked, requirements):
    pinned = set()
    for requirement in requirements:
        (version,) = requirement.specifier
        assert version.operator == "==", requirement
        pinned.add((canonicalize_name(requirement.name), version.version))
    assert pinned == locked


@pytest.mark.parametrize("python_version", PYTHON_VERSIONS)
def test_what_the_project_asks_for_is_installed_in_a_fitting_version(
    locked, requirements, python_version
):
    environment = {"python_version": python_version}
    installed = {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }
    versions = dict(locked)
    for requirement in direct_requirements():
        name = canonicalize_name(requirement.name)
        assert name in installed
        assert versions[name] in requirement.specifier, requirement


@pytest.mark.parametrize(
    "script",
    [
        *(str(path.relative_to(PROJECT)) for path in sorted(PROJECT.glob("scripts/**/*.sh"))),
        ".ci/run",
    ],
)
def test_a_script_can_be_parsed_by_bash(script):
    subprocess.run(["bash", "-n", PROJECT / script], check=True)
