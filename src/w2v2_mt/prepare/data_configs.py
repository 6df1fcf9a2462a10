"""The data configs of a prepared corpus, and the commands that train on it."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from w2v2_mt.core.atomic_output import replace_text

PREPARED_BY = "w2v2-mt prepare manifest"
Kind = Literal["speech", "speaker", "joint"]

_SPEECH = """\
# Speech recognition on {name}; `{prepared_by}` made the shards.

_target_: w2v2_mt.data.speech.SpeechCorpus
shards_folder: ${{data_folder}}/{name}_shards
# The command that prepares the shards.
prepared_by: {prepared_by}
# The tokens of its transcripts.
vocabulary: vocabulary.json
# Folders of shards to train on.
train_sets: [train]
# Name in metrics (val_wer_<name>): folder of shards.
val_sets:
  "{name}": val
test_sets:
  "{name}": test
"""

_SPEAKER = """\
# Speaker recognition on {name}; `{prepared_by}` made the shards.

_target_: w2v2_mt.data.speaker.SpeakerCorpus
shards_folder: ${{data_folder}}/{name}_shards
# The command that prepares the shards.
prepared_by: {prepared_by}
train_set: train
val_set: val
val_trials: val/val_trials.txt
# Name in metrics (test_eer_<name>): folder of shards, and below the list of trials.
test_sets:
  "{name}": test
test_trials:
  "{name}": test/test_trials.txt
"""

_JOINT = """\
# Both tasks on {name}.

defaults:
  - {name}_speech@speech
  - {name}_speaker@speaker

# joint: an utterance is used for all tasks that it has labels for. alternate: a batch of each task.
mode: joint
"""

_TEXTS: Mapping[Kind, str] = {"speech": _SPEECH, "speaker": _SPEAKER, "joint": _JOINT}

_RUNS: Mapping[Kind, tuple[str, str]] = {
    "speech": ("run_speech.py", "baseline_speech"),
    "speaker": ("run_speaker.py", "baseline_speaker_mean"),
    "joint": ("run_mt_speech_speaker.py", "multi_task_2heads_vanilla"),
}
"""The program and the experiment of each kind of run."""


def write_data_configs(folder: Path, *, name: str, tasks: Iterable[str]) -> None:
    """Write `<folder>/data/<name>_<kind>.yaml`, which `--config-dir <folder>` makes options."""
    allowed = [*tasks]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for kind, text in _TEXTS.items():
        if kind in allowed or (kind == "joint" and len(allowed) > 1):
            content = text.format(name=name, prepared_by=PREPARED_BY)
            replace_text(folder / "data" / f"{name}_{kind}.yaml", content)


def find_kinds(folder: Path, *, name: str) -> list[Kind]:
    """Return the kinds of runs that have a data config in a folder."""
    return [kind for kind in _TEXTS if (folder / "data" / f"{name}_{kind}.yaml").is_file()]


def training_commands(
    folder: Path, *, name: str, kinds: Iterable[Kind], data_folder: Path, has_subwords: bool
) -> list[str]:
    """Return a command for each kind of run, quoted for a shell.

    Args:
        folder: The folder of the data configs.
        name: The name of the corpus.
        kinds: The kinds of runs.
        data_folder: The folder of the shards.
        has_subwords: The vocabulary has subwords, not characters.
    """
    commands = []
    for kind in kinds:
        program, experiment = _RUNS[kind]
        words = ["python", program, "--config-dir", str(folder.absolute())]
        words += [f"+experiment={experiment}", f"data={name}_{kind}"]
        if has_subwords and kind != "speaker":
            words.append("speech/tokenizer=bpe")
        variable = f"DATA_FOLDER={shlex.quote(str(data_folder.absolute()))}"
        commands.append(f"{variable} {shlex.join(words)}")
    return commands
