"""What the environment and `.env` say, with defaults below the project."""

import os
import random
from pathlib import Path

from dotenv import load_dotenv

PROJECT_FOLDER = Path(__file__).resolve().parents[3]

_NAME_SEED = "W2V2_MT_NAME_SEED"
_ADJECTIVES = (
    "amber azure brisk calm clear cosy crisp dapper deft eager early fair fleet fresh gentle glad "
    "golden green happy hardy keen kind light lively lucid mellow merry neat noble polite proud "
    "quick quiet rapid rosy round sharp silver smart snowy solid sunny swift tidy vivid warm "
    "wise witty"
).split()
_NOUNS = (
    "acorn alder aspen badger beaver birch brook cedar cello clover comet crane dune falcon fern "
    "finch fjord fox gecko harbor hare hazel heron ibis island jay juniper kite lark linden lynx "
    "maple marten meadow moth oak oriole otter owl pine plover puffin quail raven reed robin tern"
).split()


def load_environment() -> None:
    """Read `.env` of the project and fill in what neither it nor the environment names."""
    load_dotenv(PROJECT_FOLDER / ".env")
    defaults = {
        "DATA_FOLDER": str(PROJECT_FOLDER / "data"),
        "LOG_FOLDER": str(PROJECT_FOLDER / "logs"),
        "TEMP_FOLDER": str(PROJECT_FOLDER / "temp"),
        "USE_WANDB": "false",
        "NUM_GPUS": "0",
        # All jobs of a sweep, on whatever machine, derive their names from the same number.
        _NAME_SEED: str(random.SystemRandom().getrandbits(48)),
    }
    for name in [name for name in os.environ if name.startswith("CLUSTER_")]:
        if not os.environ[name]:
            del os.environ[name]  # The settings of the launchers have the defaults.
    for name, value in defaults.items():
        if not os.environ.get(name):
            os.environ[name] = value


def experiment_name(job_number: int | None) -> str:
    """A readable name that is new for each command; the jobs of a sweep add their number."""
    generator = random.Random(os.environ[_NAME_SEED])
    words = f"{generator.choice(_ADJECTIVES)}-{generator.choice(_NOUNS)}"
    name = f"{words}-{generator.randrange(10_000):04d}"
    return name if job_number is None else f"{name}-{job_number:02d}"
