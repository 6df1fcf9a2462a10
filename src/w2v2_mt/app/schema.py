"""Which keys a run accepts and what they may hold."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

from w2v2_mt.app.signatures import read_signature
from w2v2_mt.app.sources import TargetError, did_you_mean
from w2v2_mt.app.value_types import Node, advice, alternatives, described, is_met, shown
from w2v2_mt.core.constraints import (
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
    SeveralInt,
)
from w2v2_mt.core.trials import ScoreNormalisation


class ConfigError(ValueError):
    """Everything that is wrong with a config, one sentence a line."""


class OptimConfig:
    algo: Node
    loss: Node
    schedule: Node


class SpeechPipelineConfig:
    normaliser: Node


class SpeechConfig:
    dataloader: Node
    pipeline: SpeechPipelineConfig
    tokenizer: Node


class SpeakerPipelineConfig:
    selector_train: Node
    normaliser: Node


class SpeakerConfig:
    dataloader: Node
    pipeline: SpeakerPipelineConfig


class EvaluationConfig:
    score_normalisation: ScoreNormalisation
    cohort_size: SeveralInt
    cohort_utterances_per_speaker: PositiveInt
    durations_sec: list[PositiveFloat]
    decoder: Literal["greedy", "beam"]
    beam_search: Node


class RunConfig:
    """What every run has; each key must be there."""

    data_folder: str
    temp_folder: str
    log_folder: str
    seed: Seed
    run_lr_range_test: bool
    lr_range_iterations: PositiveInt
    fit_model: bool
    eval_model: bool
    load_network_from_checkpoint: str | None
    use_wandb: bool
    gpus: NonNegativeInt
    num_workers: NonNegativeInt
    max_eval_items: PositiveInt | None
    evaluation: EvaluationConfig
    project_name: str
    experiment_name: str
    tag: str | list[str] | None
    network: Node
    data: Node
    trainer: Node
    callbacks: dict[str, Node | None] | None
    optim: OptimConfig


class SpeechRunConfig(RunConfig):
    speech: SpeechConfig


class SpeakerRunConfig(RunConfig):
    speaker: SpeakerConfig


class MultiTaskRunConfig(RunConfig):
    speech: SpeechConfig
    speaker: SpeakerConfig


ROOTS: dict[str, type] = {
    "train_speech": SpeechRunConfig,
    "train_speaker": SpeakerRunConfig,
    "train_mt_speaker_speech": MultiTaskRunConfig,
}
"""Name of a file in the folder config: what it has to hold."""

_GROUPS_TO_ADD = ("+experiment", "+debug", "+size")
"""What a misspelt key of a run may have been meant to be, too."""

_SPEECH_PARTS = ("loading", "normaliser", "tokenizer", "seed")
_SPEAKER_PARTS = (
    "loading",
    "selector_train",
    "normaliser",
    "test_durations_sec",
    "num_cohort_utterances",
    "seed",
)
PASSED_BY_CODE: dict[str, tuple[str, ...]] = {
    "network": ("num_letters", "letter_statistics", "num_speakers"),
    "data": (*_SPEECH_PARTS, *_SPEAKER_PARTS),
    "data.speech": _SPEECH_PARTS,
    "data.speaker": _SPEAKER_PARTS,
    "evaluation.beam_search": ("tokenizer",),
    "optim.algo": ("parameters",),
    "trainer": ("folder", "loggers", "callbacks"),
}
"""Arguments of a block with `_target_` that build.py and run.py add; a config cannot set them."""


def check_config(config: dict[str, Any], root: type) -> None:
    """Hold a resolved config against a schema such as SpeechRunConfig; no target is imported.

    A block with `_target_` is held against the signature of that class or function, without what
    PASSED_BY_CODE names. Raises ConfigError with everything that is wrong.
    """
    problems = _block_problems("", config, root)
    if problems:
        raise ConfigError("\n".join(problems))


def _problems(key: str, value: object, expected: Any) -> list[str]:
    allowed = alternatives(expected)
    found = [_problems_inside(key, value, alternative) for alternative in allowed]
    of_right_kind = [problems for problems in found if problems is not None]
    if of_right_kind:
        return min(of_right_kind, key=len)
    return [f"{key} is {shown(value)}; set it to {described(expected)}{advice(value, allowed)}"]


def _problems_inside(key: str, value: object, expected: Any) -> list[str] | None:
    """What is wrong inside of a value; None if the value as a whole is of another kind."""
    kind, arguments = get_origin(expected) or expected, get_args(expected)
    if isinstance(value, dict):
        if "_target_" in value and kind in (object, Node):
            return _node_problems(key, value)
        if kind in (object, dict):
            name_type, item_type = arguments or (object, object)
            return [
                problem
                for name, item in value.items()
                for problem in (
                    *_problems(f"the key {name} of {key}", name, name_type),
                    *_problems(_joined(key, name), item, item_type),
                )
            ]
        if getattr(kind, "__annotations__", None):
            return _block_problems(key, value, kind)
    elif isinstance(value, list) and kind in (object, list, tuple):
        if kind is tuple and ... not in arguments and arguments:
            item_types = arguments
        else:
            item_types = (arguments or (object,))[:1] * len(value)
        if len(item_types) == len(value):
            return [
                problem
                for index, item in enumerate(value)
                for problem in _problems(f"{key}[{index}]", item, item_types[index])
            ]
    return [] if is_met(expected, value) else None


def _node_problems(key: str, node: dict[Any, Any]) -> list[str]:
    target = node["_target_"]
    target_key = _joined(key, "_target_")
    if not isinstance(target, str):
        return [
            f"{target_key} is {shown(target)}; set it to the dotted name of a class or function."
        ]
    try:
        signature = read_signature(target)
    except TargetError as error:
        return [f"{target_key} is {target!r}, but {error}"]
    settings = {name: value for name, value in node.items() if name != "_target_"}
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name not in PASSED_BY_CODE.get(key, ())
    }
    allowed = {name: parameter.annotation for name, parameter in parameters.items()}
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.is_required and name not in settings
    ]
    if signature.accepts_any_name:
        allowed = {**dict.fromkeys(settings, object), **allowed}
    return [
        *_setting_problems(key, settings, allowed, owner=target),
        *_missing_problems(key, missing, allowed),
    ]


def _block_problems(key: str, block: dict[Any, Any], schema: type) -> list[str]:
    allowed = get_type_hints(schema, include_extras=True)
    missing = [name for name in allowed if name not in block]
    return [
        *_setting_problems(key, block, allowed, owner=key or "a run"),
        *_missing_problems(key, missing, allowed),
    ]


def _missing_problems(key: str, names: list[str], allowed: dict[str, Any]) -> list[str]:
    return [
        f"{_joined(key, name)} is missing; set it to {described(allowed[name])}." for name in names
    ]


def _setting_problems(
    key: str, settings: dict[Any, Any], allowed: dict[str, Any], *, owner: str
) -> list[str]:
    problems = []
    for name, value in settings.items():
        if name in allowed:
            problems += _problems(_joined(key, name), value, allowed[name])
        else:
            names = allowed if key else (*allowed, *_GROUPS_TO_ADD)
            others = f"remove it or use one of {', '.join(allowed)}." if allowed else "remove it."
            problems.append(
                f"{_joined(key, name)} is no setting of {owner}; "
                f"{did_you_mean(str(name), names) or others}"
            )
    return problems


def _joined(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
