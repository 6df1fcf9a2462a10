"""Export of a trained network to a folder that transformers loads, with a model card."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer as Backend
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from transformers import (
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)
from transformers.utils import logging as transformers_logging

from w2v2_mt.core.atomic_output import atomic_output, check_is_new
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.decoding.vocabulary import BLANK, UNKNOWN, WORD_BOUNDARY
from w2v2_mt.export.huggingface_models import (
    ctc_model,
    encoder_model,
    render_template,
    save_model,
    sees_padding,
)
from w2v2_mt.inference.trained_network import TrainedNetwork, load_trained

_EXTRACTOR_EPS = 1e-7
"""Added to variances by transformers' Wav2Vec2FeatureExtractor, where it is not a setting."""


def export(checkpoint: Path, folder: Path, *, trust: Sequence[str] = ()) -> None:
    """Write the network of a checkpoint as a model of transformers, in a new folder.

    Raises:
        ValueError: The folder exists or cannot be written, or no model of transformers has the same
            outputs.
    """
    check_is_new(folder, "folder")
    trained = load_trained(checkpoint, trust=trust)
    trunk, eps = trained.network.trunk, trained.normaliser.eps
    problems = [way.export_problem for way in trunk.ways if way.export_problem is not None]
    if trunk.permutation is not None:
        problems.append(
            "it shuffles the frames before its encoder, which no model of transformers does; "
            "export a network with network.random_permutation_mode=null."
        )
    if eps != _EXTRACTOR_EPS:
        problems.append(
            f"its waveforms were scaled with pipeline.normaliser.eps={eps}, and the feature "
            f"extractor of transformers has only {_EXTRACTOR_EPS}. Export a network that was "
            "trained with that."
        )
    if problems:
        raise ValueError(f"{checkpoint} cannot be exported: {problems[0]}")
    transformers_logging.disable_progress_bar()
    with atomic_output(folder) as written:
        try:
            if trunk.encoder.branches:
                for task in trained.tasks:
                    _write(trained, written / task, tasks=[task])
            else:
                _write(trained, written, tasks=trained.tasks)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _write(trained: TrainedNetwork, folder: Path, *, tasks: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    trunk, tokenizer = trained.network.trunk, trained.tokenizer
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE_HZ, return_attention_mask=True)
    if tokenizer is not None and "speech" in tasks:
        theirs = _convert_tokenizer(tokenizer, folder)
        Wav2Vec2Processor(feature_extractor=extractor, tokenizer=theirs).save_pretrained(folder)
        names = ("pad_token_id", "bos_token_id", "eos_token_id")
        token_ids = {name: getattr(theirs, name) for name in names}
        model = ctc_model(trunk, trained.network.heads["speech"], token_ids)
        special_symbols = [symbol for symbol in tokenizer.special_symbols if symbol != BLANK]
    else:
        extractor.save_pretrained(folder)
        model, special_symbols = encoder_model(trunk, task=tasks[0]), []
    save_model(model, trunk, folder)
    if "speaker" in tasks:
        _write_speaker_head(trained, folder)
    card = render_template(
        "model_card.md.j2",
        trained=trained,
        tasks=tasks,
        has_class_token=trunk.encoder.class_token is not None,
        sees_padding=sees_padding(model),
        special_symbols=special_symbols,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _convert_tokenizer(tokenizer: Tokenizer, folder: Path) -> PreTrainedTokenizerBase:
    """Return a tokenizer of transformers that decodes CTC; its symbols are in `vocab.json`."""
    symbols = tokenizer.symbols
    index_of = {symbol: index for index, symbol in enumerate(symbols)}
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps(index_of))
    unknown = UNKNOWN if UNKNOWN in symbols else BLANK
    if not tokenizer.has_letters:
        return PreTrainedTokenizerFast(
            tokenizer_object=_subword_backend(index_of, tokenizer.boundary, unknown),
            pad_token=BLANK,
            unk_token=unknown,
            clean_up_tokenization_spaces=False,
        )
    return Wav2Vec2CTCTokenizer(
        str(vocabulary),
        pad_token=BLANK,
        unk_token=unknown,
        word_delimiter_token=WORD_BOUNDARY,
        clean_up_tokenization_spaces=False,
        bos_token="<s>" if "<s>" in symbols else None,
        eos_token="</s>" if "</s>" in symbols else None,
    )


def _subword_backend(index_of: dict[str, int], boundary: str, unknown: str) -> Backend:
    """Return a tokenizer by byte pair encoding, whose merges are in the order of the pieces."""
    merges = [
        (piece[:place], piece[place:])
        for piece in index_of
        for place in range(1, len(piece))
        if piece[:place] in index_of and piece[place:] in index_of
    ]
    backend = Backend(BPE(vocab=index_of, merges=merges, unk_token=unknown))
    backend.pre_tokenizer = Metaspace(replacement=boundary, prepend_scheme="always")
    backend.decoder = decoders.Sequence(
        [
            decoders.CTC(pad_token=BLANK, word_delimiter_token=boundary, cleanup=False),
            decoders.Metaspace(replacement=boundary, prepend_scheme="always"),
        ]
    )
    return backend


def _write_speaker_head(trained: TrainedNetwork, folder: Path) -> None:
    network, settings = trained.network, trained.config["network"]
    head = network.heads["speaker"]
    weights = {name: value.contiguous().clone() for name, value in head.state_dict().items()}
    save_file(weights, folder / "speaker_head.safetensors")
    description = {
        "frame_dimensions": [0, network.trunk.shape.dim],
        "first_frame_is_class_token": network.trunk.num_class_tokens == 1,
        "frames_are_permuted": network.permutation is not None,
        "pooling": settings["stat_pooling_type"],
        "pools_frames_with": None,
        "embedding_size": head.pooling.out_dim,
        "score": "cosine of two embeddings",
        "same_speaker_from": trained.metrics.get("val_eer_threshold"),
        "classifier": "cosine" if settings["use_cosine_linear"] else "linear",
        "num_subcentres": settings["num_subcentres"],
        "num_speakers": head.num_speakers,
    }
    for way in network.trunk.ways:
        description |= way.describe_head("speaker")
    (folder / "speaker_head.json").write_text(json.dumps(description, indent=2) + "\n")
