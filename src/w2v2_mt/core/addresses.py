"""Addresses of files on other machines, and errors about them that show no credentials."""

import os
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

PROTOCOLS = ("http", "https", "s3", "gs", "hf")
PIPE = "pipe:"

_HARMLESS_QUERIES = {"download", "raw", "ref", "revision", "version", "versionId"}
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def is_remote(name: str) -> bool:
    """Return True for an address of another machine or a pipe, and False for a path."""
    return name.startswith(PIPE) or name.partition("://")[0] in PROTOCOLS


def check_address(url: str) -> None:
    """Raise a ValueError if an address has credentials in clear, which settings are recorded with.

    The message does not repeat them.
    """
    if url.startswith(PIPE):
        return
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    queries = parse_qsl(parts.query, keep_blank_values=True)
    is_harmless = all(
        name in _HARMLESS_QUERIES or _VARIABLE.fullmatch(name) or _VARIABLE.fullmatch(value)
        for name, value in queries
    )
    if not (is_harmless and all(_VARIABLE.fullmatch(each) for each in login.split(":") if each)):
        raise ValueError(
            f"the address {parts.scheme}://{host}{parts.path} must not have a login or a query, "
            "since settings are recorded in run folders and loggers. Write the name of an "
            "environment variable instead, as in https://$LOGIN@host/folder or "
            "https://host/a.tar?$QUERY, or use ~/.netrc, AWS_PROFILE or HF_TOKEN."
        )


def expand(url: str) -> str:
    """Return an address with the values of its variables; a ValueError names one without."""
    for name in _variables(url):
        if name not in os.environ:
            raise ValueError(
                f"the environment variable {name} of the address {url} must be set. Set it."
            )
    return os.path.expandvars(url)


def explain(url: str, error: BaseException) -> ValueError:
    """Return the error of a failed request, without the values of variables in the address."""
    if isinstance(error, FileNotFoundError):
        return ValueError(f"{url} must exist, but is not found. Correct the address.")
    reason = " ".join(str(error).split()) or type(error).__name__
    status = getattr(error, "status", None)
    if status is not None:
        reason = f"the server answers with status {status}"
    expanded = os.path.expandvars(url)
    reason = reason.replace(expanded, url)
    for secret in _secrets(url):
        reason = reason.replace(secret, "***")
    return ValueError(
        f"{url} cannot be read ({reason}). Check the address, your login and the network, and "
        "start again; a run resumes in its folder."
    )


def _variables(url: str) -> list[str]:
    return [plain or braced for plain, braced in _VARIABLE.findall(url)]


def _secrets(url: str) -> Iterator[str]:
    """Yield the values of the variables in an address, and their parts."""
    for name in _variables(url):
        if value := os.environ.get(name):
            yield value
            yield from (part for part in re.split("[:&=]", value) if len(part) >= 4)
