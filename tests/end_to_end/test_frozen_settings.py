"""Compose the settings that the golden file holds, for every command of the paper."""

from fnmatch import fnmatch

import pytest
import yaml

from tests.golden.settings import (
    ABSENT,
    CHANGES_FILE,
    changed_keys,
    compose_command,
    config_folder,
    read_golden_settings,
)


@pytest.fixture(scope="module")
def setting_differences() -> dict[tuple[str, str, str], list[str]]:
    """Commands by each difference between frozen and present settings: its kind, key and text."""
    found: dict[tuple[str, str, str], list[str]] = {}
    with config_folder():
        for command, frozen in read_golden_settings().items():
            for key, value in changed_keys(frozen, compose_command(command)).items():
                kind = "added" if key not in frozen else "changed"
                kind = "removed" if value == ABSENT else kind
                text = f"{frozen.get(key, ABSENT)} -> {value}"
                found.setdefault((kind, key, text), []).append(command)
    return found


@pytest.fixture(scope="module")
def listed_changes() -> dict[str, dict[str, str]]:
    """Reasons by kind and pattern."""
    return yaml.safe_load(CHANGES_FILE.read_text())


def test_settings_of_every_command_are_frozen_but_for_listed_changes(
    setting_differences, listed_changes
):
    unexpected = [
        f"{kind} {key}: {text} ({len(commands)} commands, such as {commands[0]})"
        for (kind, key, text), commands in setting_differences.items()
        if not any(fnmatch(key, pattern) for pattern in listed_changes[kind])
    ]
    assert not unexpected, "\n".join(unexpected)


def test_every_listed_change_of_a_setting_has_a_reason_and_is_one(
    setting_differences, listed_changes
):
    entries = [
        (kind, pattern, reason)
        for kind, patterns in listed_changes.items()
        for pattern, reason in patterns.items()
    ]
    assert [entry for entry in entries if not entry[2]] == []
    stale = [
        f"{kind} {pattern}"
        for kind, pattern, _ in entries
        if not any(
            kind == found_kind and fnmatch(key, pattern)
            for found_kind, key, _ in setting_differences
        )
    ]
    assert stale == []
