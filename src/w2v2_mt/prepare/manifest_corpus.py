"""A corpus of recordings that a manifest describes, as shards."""

import hashlib
import json
import os
import time
from dataclasses import fields
from pathlib import Path

from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.manifest import Manifest, read_manifest
from w2v2_mt.manifests.recordings import Recording
from w2v2_mt.manifests.rejections import RejectionAccount
from w2v2_mt.prepare.corpus_options import ManifestOptions
from w2v2_mt.prepare.corpus_plan import CorpusPlan, plan_corpus
from w2v2_mt.prepare.corpus_sets import write_corpus
from w2v2_mt.prepare.data_configs import find_kinds, training_commands, write_data_configs
from w2v2_mt.prepare.progress import print_summary, stage_bars
from w2v2_mt.prepare.recorded_audio import open_recorded_files
from w2v2_mt.prepare.shard_sets import SetWriter, ShardSet
from w2v2_mt.prepare.work_folder import produce

CONFIG_FOLDER = "config"
"""The folder of the data configs next to the sets."""

_DECISIVE = [field.name for field in fields(Recording) if field.name != "line"]
"""All fields of a recording but the place where it is described."""


def prepare_manifest(options: ManifestOptions) -> None:
    """Write the recordings of a manifest to `<data_folder>/<name>_shards`."""
    start = time.monotonic()
    folder = options.data_folder / f"{options.name}_shards"
    manifest = read_manifest(options.manifest, root=options.root)
    written = produce(
        [folder],
        work=folder.with_name(f".{folder.name}.partial"),
        record={
            "recordings_sha256": _digest(manifest),
            **options.metadata(),
            **options.corpus_metadata(),
        },
        overwrite=options.overwrite,
        fill=lambda work: _write(manifest, work, work / folder.name, options),
        other_source="another manifest, from other audio",
    )
    if written is None:
        print_visible(f"{folder} exists already, made with these options.")
    else:
        print_summary(options.name, written, duration_sec=time.monotonic() - start)
    configs = folder / CONFIG_FOLDER
    kinds = find_kinds(configs, name=options.name)
    if options.config_folder is not None:
        configs = options.config_folder
        tasks = [kind for kind in kinds if kind != "joint"]
        write_data_configs(configs, name=options.name, tasks=tasks)
    print_visible("\nTrain in the folder of the project with:\n")
    for command in training_commands(
        configs,
        name=options.name,
        kinds=kinds,
        data_folder=options.data_folder,
        has_subwords=options.bpe is not None,
    ):
        print_visible(f"{command}\n")


def _write(
    manifest: Manifest, work: Path, folder: Path, options: ManifestOptions
) -> list[ShardSet]:
    plan = plan_corpus(
        options.name, manifest.recordings, rejections=manifest.rejections, options=options
    )
    for sentence in describe_plan(plan):
        print_visible(sentence)
    folder.mkdir(exist_ok=True)
    account = RejectionAccount(
        num_files=len(manifest.recordings) + len(manifest.rejections),
        max_share=options.max_rejected,
        folder=work,
        remedy="correct the manifest or the files",
    )
    with stage_bars() as bars, Workers(options.num_workers) as workers:
        files = open_recorded_files(
            [each for recordings in plan.sets.values() for each in recordings],
            root=manifest.root,
            work=work,
            workers=workers,
            bars=bars,
        )
        writer = SetWriter(work, options, workers, account, bars)
        written = write_corpus(
            plan, folder, title=options.name, writer=writer, audio_of=files.audio_of
        )
    write_data_configs(folder / CONFIG_FOLDER, name=options.name, tasks=plan.tasks)
    return written


def describe_plan(plan: CorpusPlan) -> list[str]:
    """Return sentences about the decisions of a plan."""
    sizes = ", ".join(f"{name} {len(recordings)}" for name, recordings in plan.sets.items())
    sentences = [f"Recordings: {sizes}; for {' and '.join(plan.tasks)} recognition."]
    if plan.vocabulary is not None:
        sentences.append(f"Vocabulary: {count(len(plan.vocabulary), 'symbol')}.")
    return [*sentences, *plan.notes]


def _digest(manifest: Manifest) -> str:
    """Return a checksum of the recordings, and of the size and time of each file."""
    digest = hashlib.sha256()
    for each in sorted(manifest.recordings, key=lambda each: each.key):
        status = os.stat(manifest.root / each.path)
        content = [getattr(each, name) for name in _DECISIVE]
        content += [status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    for rejection in manifest.rejections:
        digest.update(f"{rejection.file}\t{rejection.reason}\n".encode())
    return digest.hexdigest()
