"""Pages as headless Chromium shows them."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

PROGRAM = "chromium"
_HARNESS = Path(__file__).with_name("in_browser.html")
_LIMIT_SEC = 300


def what_is_missing() -> str | None:
    """Why no page can be looked at here."""
    if shutil.which(PROGRAM) is None:
        return f"there is no {PROGRAM} here; apt-get install {PROGRAM} brings it"
    return None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What each frame shows, and what the browser wrote to its console about all of them."""

    frames: list[dict[str, Any]]
    console: list[str]


def seen(frames: Sequence[tuple[Path, int]], *, is_dark: bool, profile: Path) -> Seen:
    """Each page at a width in pixels, with everything that is folded opened."""
    wanted = [{"page": page.as_uri(), "width": width} for page, width in frames]
    command = [
        *(PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
        f"--blink-settings=preferredColorScheme={0 if is_dark else 1}",
        "--allow-file-access-from-files",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        "--dump-dom",
        f"{_HARNESS.as_uri()}#{quote(json.dumps(wanted))}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SEC, check=True)
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title, result.stdout + result.stderr
    console = [line for line in result.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(frames=json.loads(unquote(title.group(1))), console=console)
