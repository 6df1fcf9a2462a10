"""Every command, with what somebody else may have put in the place of a file that it reads."""

from collections.abc import Iterator

import pytest
import typer

from tests.security.conftest import PAYLOADS
from w2v2_mt.app.commands import app, main

READS_NOTHING = {"synthesise"}
COMMANDS = {
    "predict": ("theirs.ckpt", "{file} {tone}"),
    "export huggingface": ("theirs.ckpt", "{file} {folder}/new"),
    "export onnx": ("theirs.ckpt", "{file} {folder}/new.onnx"),
    "label": ("theirs.ckpt", "{file} {folder} --output {folder}/new.jsonl"),
    "compare": ("run/metrics.json", "{folder}/run {folder}/run"),
    "report run": ("run/metrics.csv", "{folder}/run"),
    "report sweep": ("sweep/jobs.tsv", "{folder}/sweep"),
    "doctor": ("theirs.csv", "{file}"),
    "prepare manifest": ("theirs.jsonl", "{file} --name x --data_folder {folder}/data"),
    "prepare subwords": ("shards/a.tar", "{folder}/shards --output {folder}/new.json"),
    "prepare inspect": ("shards/a.tar", "{folder}/shards"),
    "prepare librispeech": (
        "data/librispeech/dev-clean.tar.gz",
        "--data_folder {folder}/data --subsets dev-clean --num_workers 0",
    ),
    "prepare speech_commands": (
        "data/speech_commands/speech_commands_v0.02.tar.gz",
        "--data_folder {folder}/data --num_workers 0",
    ),
    "prepare voxceleb1": (
        "data/voxceleb_meta/vox1_meta.csv", "--data_folder {folder}/data --num_workers 0",
    ),
    "prepare voxceleb2": (
        "data/voxceleb_meta/list_test_all2.txt", "--data_folder {folder}/data --num_workers 0",
    ),
    "prepare convert-voxceleb2": ("vox2/aac/id1/v/0.m4a", "{folder}/vox2 --num_workers 0"),
}  # fmt: skip
"""The place of a file below a folder, and the arguments of the command that reads it."""
OTHERS = {
    "compare": ["run/config.yaml"],
    "report run": ["run/config.yaml"],
    "prepare voxceleb1": [
        "voxceleb_archives/vox1_dev_wav.zip", "voxceleb_archives/vox1_test_wav.zip",
        "voxceleb_meta/veri_test2.txt",
    ],
    "prepare voxceleb2": [
        "voxceleb_archives/vox2_dev_wav.zip", "voxceleb_archives/vox1_dev_wav.zip",
        "voxceleb_archives/vox1_test_wav.zip", "voxceleb_meta/vox2_meta.csv",
        "voxceleb_meta/veri_test2.txt", "voxceleb_meta/list_test_hard2.txt",
    ],
}  # fmt: skip
"""Further files, without which a command does not read that file."""


def names_below(group: typer.Typer, prefix: str = "") -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{prefix}{command.name or command.callback.__name__}"
    for each in group.registered_groups:
        assert each.typer_instance is not None
        yield from names_below(each.typer_instance, f"{prefix}{each.name} ")


def test_the_table_has_every_command():
    assert {*COMMANDS, *READS_NOTHING} == set(names_below(app))


@pytest.mark.usefixtures("within_a_minute")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reads_a_file_or_refuses_it_in_one_sentence(
    name, tmp_path, watched, tone, capfd
):  # fmt: skip
    place, arguments = COMMANDS[name]
    for number, (kind, write) in enumerate(PAYLOADS.items()):
        folder = tmp_path / str(number)
        file = folder / place
        for other in OTHERS.get(name, []):
            path = folder / ("data" if name.startswith("prepare") else "") / other
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("seed: 1\n")
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file)
        filled = arguments.format(file=file, folder=folder, tone=tone)
        capfd.readouterr()
        with watched():
            code = main([*name.split(), *filled.split()])
        printed = capfd.readouterr()
        assert "Traceback" not in printed.out + printed.err, kind
        assert code in (0, 1), (kind, printed.err)
        if code == 1 and name != "doctor":
            sentence = printed.err.splitlines()[-1]
            assert sentence.startswith("Error: "), (kind, printed.err)
            names = (str(folder), file.name, "The transcripts must have words")
            assert any(each in sentence for each in names), (kind, sentence)
