"""The command `w2v2-mt synthesise`."""

import os
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from w2v2_mt.core.errors import exit_with_sentence
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.synthetic.corpus_plan import CorpusSizes


@exit_with_sentence()
def synthesise(
    folder: Annotated[Path, Argument(metavar="FOLDER", help="The DATA_FOLDER to write to.")],
    seed: Annotated[int, Option(help="Decides every voice and word.")] = 0,
    workers: Annotated[int, Option(help="Processes.")] = os.cpu_count() or 1,
    **sizes: int,
) -> None:
    """Write the synthetic corpus of the demo.

    Its computed voices say a few words, in the official layouts of LibriSpeech and VoxCeleb1, so
    that everything can be tried without a download.
    """
    from w2v2_mt.synthetic.corpus import write_synthetic_corpus

    corpus_sizes = CorpusSizes(**sizes)
    for path in write_synthetic_corpus(folder, seed=seed, sizes=corpus_sizes, num_workers=workers):
        print_visible(path)


_folder, _seed, _workers, _ = signature(synthesise).parameters.values()
_sizes = [
    Parameter(
        name, Parameter.KEYWORD_ONLY, default=size, annotation=Annotated[int, Option("--" + name)]
    )
    for name, size in vars(CorpusSizes()).items()
]
synthesise.__signature__ = Signature([_folder, _seed, _workers, *_sizes])  # type: ignore[attr-defined]
