"""The commands `w2v2-mt prepare ...`, each of which imports what it needs when it runs."""

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

from typer import Argument, Option, Typer

from w2v2_mt.core.errors import exit_with_sentence
from w2v2_mt.prepare.corpus_options import ManifestOptions
from w2v2_mt.prepare.options import LibriSpeechOptions, Options, VoxCeleb2Options, VoxCelebOptions
from w2v2_mt.prepare.speech_commands_options import SpeechCommandsOptions

Run = TypeVar("Run", bound=Callable[[Any], None])

prepare = Typer(help="Turn archives of corpora into shards.", no_args_is_help=True)


def _option(field: Parameter) -> Parameter:
    """Return a field of a dataclass as an option whose help is the text next to its type."""
    value_type, (info, *_) = field.annotation.__origin__, field.annotation.__metadata__
    if isinstance(info, str):
        info = Option(f"--{field.name}", help=info)
    return field.replace(annotation=Annotated[value_type, info])


def corpus_command(name: str, options_type: type[Options]) -> Callable[[Run], Run]:
    """Add a command whose options are the fields of a dataclass."""

    def add(run: Run) -> Run:
        @exit_with_sentence()
        def command(**values: Any) -> None:
            run(options_type(**values))

        options = map(_option, signature(options_type).parameters.values())
        command.__signature__ = Signature([*options])  # type: ignore[attr-defined]
        prepare.command(name, help=run.__doc__)(command)
        return run

    return add


@corpus_command("librispeech", LibriSpeechOptions)
def librispeech(options: LibriSpeechOptions) -> None:
    """Write the shards of LibriSpeech.

    The archives in <data_folder>/librispeech become shards in <data_folder>/librispeech_shards.
    """
    from w2v2_mt.prepare.librispeech import prepare_librispeech

    prepare_librispeech(options)


@corpus_command("voxceleb1", VoxCelebOptions)
def voxceleb1(options: VoxCelebOptions) -> None:
    """Write the shards and trial lists of VoxCeleb1.

    The archives in <data_folder>/voxceleb_archives become shards and trials in
    <data_folder>/vox1_shards.
    """
    from w2v2_mt.prepare.voxceleb import prepare_voxceleb1

    prepare_voxceleb1(options)


@corpus_command("voxceleb2", VoxCeleb2Options)
def voxceleb2(options: VoxCeleb2Options) -> None:
    """Write the shards of VoxCeleb2, tested on lists of VoxCeleb1.

    The VoxCeleb2 archives in <data_folder>/voxceleb_archives become shards for training and
    validation in <data_folder>/vox2_shards, and those of VoxCeleb1 the original, extended and hard
    test in vox2_shards/test, vox2_shards_all/test and vox2_shards_hard/test. Each VoxCeleb2 archive
    is vox2_<part>_wav.zip where that exists, and vox2_<part>_aac.zip otherwise.
    """
    from w2v2_mt.prepare.voxceleb import prepare_voxceleb2

    prepare_voxceleb2(options)


@corpus_command("manifest", ManifestOptions)
def manifest(options: ManifestOptions) -> None:
    """Write the shards of your own recordings, and all that training on them needs.

    FILE is a CSV, TSV or JSONL table of recordings, a NeMo manifest, lhotse cuts, or a folder of
    Kaldi or of HuggingFace's audiofolder. The recordings become shards for training, validation and
    test, with trials, a vocabulary and data configs, in <data_folder>/<name>_shards.
    """
    from w2v2_mt.prepare.manifest_corpus import prepare_manifest

    prepare_manifest(options)


@corpus_command("speech_commands", SpeechCommandsOptions)
def speech_commands(options: SpeechCommandsOptions) -> None:
    """Write the shards and trial lists of Speech Commands.

    The archive in <data_folder>/speech_commands becomes shards, trials and recordings of noise in
    <data_folder>/speech_commands_shards.
    """
    from w2v2_mt.prepare.speech_commands import prepare_speech_commands

    prepare_speech_commands(options)


@prepare.command("convert-voxceleb2", no_args_is_help=True)
@exit_with_sentence()
def convert_voxceleb2(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder of the unpacked archives.")],
    num_workers: Annotated[
        int, Option("--num_workers", help="Processes that convert; 0: only this process.")
    ] = Options.num_workers,
    delete_originals: Annotated[
        bool, Option("--delete_originals", help="Remove each m4a file once its wav is verified.")
    ] = False,
) -> None:
    """Convert unpacked VoxCeleb2 to wav files.

    DIR/.../aac/<speaker>/<video>/<n>.m4a becomes DIR/.../wav/<speaker>/<video>/<n>.wav. The same
    command resumes after it was stopped.
    """
    from w2v2_mt.prepare.convert_voxceleb2 import convert_voxceleb2

    convert_voxceleb2(folder, num_workers=num_workers, delete_originals=delete_originals)


@prepare.command("inspect", no_args_is_help=True)
@exit_with_sentence()
def inspect(
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Such as .../vox1_shards/train.")],
    export: Annotated[
        Path | None,
        Option(metavar="NEW_FOLDER", help="Write utterances there: audio, and words or speaker."),
    ] = None,
    num_utterances: Annotated[int, Option("--num_utterances", help="Export at most N.")] = 10,
) -> None:
    """Print what a folder of shards holds, and export some of it."""
    from w2v2_mt.prepare.inspect_shards import inspect_shards

    inspect_shards(folder, export=export, num_utterances=num_utterances)


@prepare.command("subwords", no_args_is_help=True)
@exit_with_sentence()
def subwords(
    folders: Annotated[
        list[Path],
        Argument(metavar="FOLDER...", help="Training shards, such as .../train_clean_100."),
    ],
    output: Annotated[Path, Option(metavar="NEW_FILE", help="The vocabulary, a JSON file.")],
    num_tokens: Annotated[
        int, Option("--num_tokens", help="Size of the vocabulary, characters included.")
    ] = 1000,
    letters_from: Annotated[
        list[Path],
        Option(
            "--letters_from",
            metavar="FOLDER",
            help="Shards whose characters the vocabulary must have too, such as those of a test "
            "(may be repeated).",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Learn a vocabulary of subwords from transcripts.

    Byte pair encoding by sentencepiece; train with speech/tokenizer=bpe. The same transcripts make
    the same bytes.
    """
    from w2v2_mt.prepare.subwords import prepare_subwords

    prepare_subwords(folders, letters_from=letters_from, output=output, num_tokens=num_tokens)
