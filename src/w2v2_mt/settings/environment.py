"""The variables of the environment and of `.env`, with defaults, and what they mean."""

import netrc
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values, load_dotenv

PROJECT_FOLDER = Path(__file__).resolve().parents[3]

_NAME_SEED = "W2V2_MT_NAME_SEED"
_READ_ALIKE = re.compile(
    r"""
    \s* (\#.*)?                                      # an empty line or a comment
    | \s* (export[ ]+)? [A-Za-z_]\w* =
      ( ( [\w./:@%+,=^-] | \$\{\w+\} )*             # a plain value
        | " ( [^"\\`$\r] | \$\{\w+\} )* "           # in both kinds of quotes
        | ' [^'\\$\r]* '
      ) [ \t]* ([ \t]\#.*)?
    """,
    flags=re.VERBOSE,
)
"""A line of `.env` that bash, which runs the scripts, and Python read alike."""
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
    """Read `.env` of the project and fill in what neither it nor the environment names.

    A line that bash would read in another way ends the process with a sentence.
    """
    path = PROJECT_FOLDER / ".env"
    if path.is_file():
        check_env_file(path)
    load_dotenv(path)
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


def find_data_folder() -> Path | None:
    """Return DATA_FOLDER of `.env`, or else the folder `data`, of the project.

    Returns None if this package was installed without its project. A line of `.env` that bash would
    read in another way ends the process with a sentence.
    """
    path = PROJECT_FOLDER / ".env"
    if path.is_file():
        check_env_file(path)
    elif not (PROJECT_FOLDER / "config").is_dir():
        return None
    return PROJECT_FOLDER / (dotenv_values(path).get("DATA_FOLDER") or "data")


def check_env_file(path: Path) -> None:
    """End the process with a sentence if bash and Python would read a line differently."""
    # Not by splitlines, so that bash's reading of a carriage return is seen.
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    for number, line in enumerate(text.split("\n"), start=1):
        if not _READ_ALIKE.fullmatch(line):
            name = line.partition("=")[0].strip()  # The value may be a key.
            raise SystemExit(
                f"Error: line {number} of {path} ({name}) must be NAME=value as Python and bash "
                "read it alike. Write no blanks around =, ${HOME} for ~ and $HOME, and quotes "
                "around a value with blanks or signs."
            )


def experiment_name(job_number: int | None) -> str:
    """A readable name that is new for each command; the jobs of a sweep add their number."""
    generator = random.Random(os.environ[_NAME_SEED])
    words = f"{generator.choice(_ADJECTIVES)}-{generator.choice(_NOUNS)}"
    name = f"{words}-{generator.randrange(10_000):04d}"
    return name if job_number is None else f"{name}-{job_number:02d}"


def find_wandb_login(environment: Mapping[str, str]) -> str | None:
    """Return where wandb finds its key or why it needs none, None if it cannot log in."""
    if (mode := environment.get("WANDB_MODE")) in ("offline", "dryrun", "disabled"):
        return f"WANDB_MODE={mode}, no login needed"
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if environment.get(name):
            return f"a key in {name}"
    address = environment.get("WANDB_BASE_URL")
    servers = [urlsplit(address).netloc] if address else ("api.wandb.ai", "api.forge.coreweave.com")
    file = environment.get("NETRC") or Path(environment.get("HOME", "~")).expanduser() / ".netrc"
    try:
        known = netrc.netrc(file)  # `wandb login` writes the key there.
    except (OSError, netrc.NetrcParseError):
        return None
    if any(known.authenticators(server) for server in servers):
        return f"a login in {file}"
    return None
