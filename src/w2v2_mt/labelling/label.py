"""Label utterances with a trained network, as a manifest from which training data are prepared."""

import json
import shlex
from importlib.metadata import version
from pathlib import Path

from w2v2_mt.core.atomic_output import atomic_replacement, check_is_new
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.labelling.label_rules import LabelRules
from w2v2_mt.labelling.options import LabelOptions
from w2v2_mt.labelling.other_transcripts import read_transcripts
from w2v2_mt.labelling.utterances import open_source
from w2v2_mt.prepare.work_folder import resumable


def label(checkpoint: Path, options: LabelOptions, *, trust: list[str]) -> None:
    """Write a manifest of the utterances of a source with labels of a network.

    Raises:
        ValueError: The output exists, the source or the checkpoint cannot be read, or there is
            nothing to label.
    """
    check_is_new(options.output, "file")
    source = open_source(options.source, root=options.root)
    for rejection in source.rejections:
        print_visible(f"skipped: {rejection.file}: {rejection.reason}", to_stderr=True)
    root = source.root(options.output.parent)
    others = None
    if options.transcripts is not None:
        others = read_transcripts(options.transcripts, root=root)
    trained = load_trained(checkpoint, trust=trust)
    rules = LabelRules(options=options, trained=trained, others=others)
    num_utterances = rules.check(source)
    record = {
        "checkpoint": _identity(checkpoint),
        "source": source.digest(),
        "transcripts": options.transcripts and _identity(options.transcripts),
        "relabel": options.relabel,
        **options.windows,
        "version": version("w2v2-mt"),
    }
    with resumable(options.output.with_name(f".{options.output.name}.partial"), record) as work:
        source.prepare(work)
        labeller, labels = rules.ask_network(source, work=work, num_utterances=num_utterances)
        with atomic_replacement(options.output) as part, part.open("w", encoding="utf-8") as file:
            for row in rules.rows(source, labels, labeller):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print_visible(rules.summary())
    words = ["w2v2-mt", "prepare", "manifest", str(options.output)]
    if root.resolve() != options.output.parent.resolve():
        words += ["--root", str(root)]
    print_visible(f"Make shards of it: {shlex.join(words)} --name NAME")


def _identity(path: Path) -> list[object]:
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]
