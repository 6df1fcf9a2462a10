"""The processes of the sides of `peers.py`, and the virtual environment of the peers."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent

SHARED_PACKAGES = ("torch", "torchaudio", "transformers", "numpy", "soundfile")
"""The peers have our versions of these."""

PEER_PACKAGES = ("speechbrain==1.1.2", "lhotse==1.33.0")

OURS = "ours"

SIDES = {
    OURS: ("w2v2_mt", "peer_ours.py"),
    "HuggingFace": ("transformers", "peer_transformers.py"),
    "SpeechBrain": ("speechbrain", "peer_speechbrain.py"),
    "lhotse files": ("lhotse", "peer_lhotse.py"),
    "lhotse shar": ("lhotse", "peer_lhotse.py"),
}
"""The package of each side, and its runner."""


def make_environment(folder: Path) -> Path:
    """Return the Python of a virtual environment with the peers; make what is missing."""
    shared = [f"{name}=={version(name).split('+')[0]}" for name in SHARED_PACKAGES]
    wanted = [*shared, *PEER_PACKAGES]
    python, stamp = folder / "bin" / "python", folder / "installed_peers"
    if not stamp.is_file() or stamp.read_text().split() != wanted:
        print(f"Installing the peers into {folder}; this takes some minutes.", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "install", "--quiet", *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    return python


def is_installed(python: str | Path, side: str) -> bool:
    """Return True if a Python has the package of a side."""
    package, _ = SIDES[side]
    code = f"import importlib.util as util; raise SystemExit(util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", code]).returncode == 0


class Worker:
    """The process of one side, which prepares jobs and runs rounds of them on request."""

    def __init__(self, python: str | Path, side: str, *, num_threads: int, folder: Path):
        self.side = side
        self.log_path = folder / f"{side}.log"
        _, runner = SIDES[side]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [python, BENCHMARKS / runner],
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": str(num_threads),
                    "MKL_NUM_THREADS": str(num_threads),
                    "TOKENIZERS_PARALLELISM": "false",
                    "HF_HUB_OFFLINE": "1",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a `job` or a `variant`, and return the answer.

        A process that failed ends the benchmark with its log.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.side} failed:\n{self.log_path.read_text()[-3000:]}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
