"""Whether settings that are allowed one by one go together, and with the environment.

Each check yields sentences; nothing heavy is imported for any of them.
"""

import inspect
import netrc
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from w2v2_mt.app.schema import ConfigError
from w2v2_mt.models.combinations import check_guided_pooling, check_letter_head, check_subcentres

Config = dict[str, Any]

_WANDB_MODES_WITHOUT_KEY = ("offline", "dryrun", "disabled")

_METHODS_OF_GRADIENTS = ("gradnorm", "pcgrad")

_SECRET_VARIABLES = ("WANDB_API_KEY", "HF_TOKEN")
_MIN_SECRET_LENGTH = 20
"""A shorter word, which is no real key, may be found by chance."""

_WANDB_SERVERS = ("api.wandb.ai", "api.forge.coreweave.com")


def check_consistency(config: Config) -> None:
    """Raises ConfigError with everything that does not go together in a config without flaws."""
    problems = [problem for check in _CHECKS for problem in check(config)]
    if problems:
        raise ConfigError("\n".join(problems))


def _unvalidated_steps(config: Config) -> Iterator[str]:
    trainer = config["trainer"]
    max_steps, interval = trainer["max_steps"], trainer["val_check_interval"]
    if max_steps > interval and max_steps % interval:
        yield (
            f"trainer.max_steps={max_steps} is no multiple of trainer.val_check_interval="
            f"{interval}, so the last {max_steps % interval} steps would be neither validated nor "
            "saved; change one of the two."
        )


def _devices(config: Config) -> Iterator[str]:
    trainer = config["trainer"]
    gpus, devices = trainer["gpus"], trainer["devices"]
    if gpus and devices not in (None, gpus):
        yield (
            f"trainer.devices={devices}, but a process has a GPU of its own and gpus={gpus}; set "
            "trainer.devices=null."
        )


def _stages_of_schedule(config: Config) -> Iterator[str]:
    schedule = config["optim"]["schedule"]
    fractions = {name: value for name, value in schedule.items() if name.endswith("_fraction")}
    if sum(fractions.values()) > 1:
        named = " and ".join(f"{name}={value}" for name, value in fractions.items())
        yield f"optim.schedule has {named}, but together they are at most 1; lower one of them."


def _decay_rates(config: Config) -> Iterator[str]:
    betas = config["optim"]["algo"].get("betas", [0, 0])
    if len(betas) != 2:
        yield f"optim.algo.betas is {betas}, but Adam takes two numbers; use [0.9, 0.999]."


def _secrets(config: Config, path: str = "") -> Iterator[str]:
    """Settings are written to the run folder and shown by trackers."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _secrets({str(key): item for key, item in value.items()}, f"{path}{name}.")
            continue
        for variable in _SECRET_VARIABLES:
            secret = os.environ.get(variable, "")
            if len(secret) >= _MIN_SECRET_LENGTH and secret in str(value):
                yield f"{path}{name} holds the value of {variable}; a secret is never a setting."


def _wandb_account(config: Config) -> Iterator[str]:
    if config["use_wandb"] and not _can_follow_on_wandb(os.environ):
        yield (
            "use_wandb=true, but there is no key of an account; set WANDB_API_KEY in .env, log in "
            "with `wandb login`, set WANDB_MODE=offline, or set use_wandb=false."
        )


def _can_follow_on_wandb(environment: Mapping[str, str]) -> bool:
    if environment.get("WANDB_MODE") in _WANDB_MODES_WITHOUT_KEY:
        return True
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    address = environment.get("WANDB_BASE_URL")
    servers = [urlsplit(address).netloc] if address else _WANDB_SERVERS
    try:
        # Where `wandb login` writes the key.
        known = netrc.netrc(environment.get("NETRC"))
        return any(known.authenticators(server) for server in servers)
    except (OSError, netrc.NetrcParseError):
        return False


def _network(config: Config) -> Iterator[str]:
    """Of the network alone, for those of its settings that this command has."""
    network = config["network"]
    for check in (check_guided_pooling, check_subcentres, check_letter_head):
        names = inspect.signature(check).parameters
        if all(name in network for name in names):
            try:
                check(**{name: network[name] for name in names})
            except ValueError as error:
                yield str(error)


def _gradients_of_a_frozen_trunk(config: Config) -> Iterator[str]:
    network, max_steps = config["network"], config["trainer"]["max_steps"]
    num_frozen_steps = network["num_frozen_steps"]
    thaws = not network["wav2vec_initially_frozen"] or (
        num_frozen_steps is not None and num_frozen_steps < max_steps
    )
    method = config["optim"]["loss"].get("scale_method")
    if method in _METHODS_OF_GRADIENTS and not thaws:
        yield (
            f"optim.loss.scale_method={method} compares gradients of the trunk, which is frozen "
            f"for all {max_steps} steps; set network.num_frozen_steps to less, or choose another "
            "method."
        )


_CHECKS = (
    _unvalidated_steps,
    _devices,
    _stages_of_schedule,
    _decay_rates,
    _secrets,
    _wandb_account,
    _network,
    _gradients_of_a_frozen_trunk,
)
