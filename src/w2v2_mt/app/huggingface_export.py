"""The folder of a trained network that transformers loads, with a model card."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v2_mt.app.new_results import check_is_new, run_writing, written_whole

if TYPE_CHECKING:  # Torch would make --help wait.
    from w2v2_mt.app.trained import TrainedNetwork

SPEAKER_HEAD_FILE = "speaker_head.safetensors"
SPEAKER_HEAD_DESCRIPTION = "speaker_head.json"
_EXTRACTOR_EPS = 1e-7
"""Added to variances by transformers' Wav2Vec2FeatureExtractor, which has no setting for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Write the encoder and the letter head of a checkpoint as a model of "
        "transformers, and the speaker head as safetensors. A branched network becomes two folders."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="such as .../best.ckpt")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    options = parser.parse_args(arguments)

    def write() -> str:
        export(options.checkpoint, options.folder)
        return f"The model is in {options.folder}; its README.md says how to load it."

    return run_writing(write)


def export(checkpoint: Path, folder: Path) -> None:
    """Write the folder.

    Raises:
        ValueError: it exists or cannot be written, or no model of transformers answers alike.
    """
    check_is_new(folder, "folder")

    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    from w2v2_mt.app.trained import load_trained
    from w2v2_mt.models.huggingface import check_exportable

    trained = load_trained(checkpoint)
    try:
        check_exportable(trained.network.trunk)
    except ValueError as error:
        raise ValueError(f"{checkpoint} cannot be exported: {error}") from error
    if trained.normaliser.eps != _EXTRACTOR_EPS:
        raise ValueError(
            f"{checkpoint} cannot be exported: its waveforms were scaled with pipeline.normaliser."
            f"eps={trained.normaliser.eps}, and the feature extractor of transformers knows only "
            f"{_EXTRACTOR_EPS}; export a network that was trained with that."
        )
    tasks = [
        task
        for task, is_answered in (
            ("speech", trained.answers_speech),
            ("speaker", trained.answers_speaker),
        )
        if is_answered
    ]
    transformers_logging.disable_progress_bar()
    with written_whole(folder) as written:
        try:
            if trained.network.trunk.encoder.branches:
                for task in tasks:
                    _write(trained, written / task, tasks=[task])
            else:
                _write(trained, written, tasks=tasks)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _write(trained: "TrainedNetwork", folder: Path, *, tasks: Sequence[str]) -> None:
    from w2v2_mt.models.huggingface import encoder_model, letter_model
    from w2v2_mt.models.upstream import ENCODER_FOLDER

    network: Any = trained.network
    folder.mkdir(parents=True)
    trunk = network.trunk
    if "speech" in tasks:
        assert trained.tokenizer is not None
        symbols = trained.tokenizer.symbols
        ids = {
            name: symbols.index(symbol) if symbol in symbols else None
            for name, symbol in (("bos_token_id", "<s>"), ("eos_token_id", "</s>"))
        }
        model = letter_model(
            trunk,
            network.speech_head if "speaker" in _heads(network) else network.head,
            num_speaker_dimensions=getattr(network, "num_speaker_dimensions", None),
            blank_index=trained.tokenizer.blank_index,
            others=ids,
        )
    else:
        model = encoder_model(trunk, task="speaker")
    if trunk.encoder.class_token is None:
        model.save_pretrained(folder)
    else:
        model.save_pretrained(folder / ENCODER_FOLDER)
        _write_with_class_token(model, trunk, folder)
    _write_processor(trained, folder, has_letters="speech" in tasks)
    if "speaker" in tasks:
        _write_speaker_head(trained, folder)
    (folder / "README.md").write_text(_card(trained, tasks), encoding="utf-8")


def _heads(network: Any) -> list[str]:
    return [task for task in ("speech", "speaker") if hasattr(network, f"{task}_head")]


def _write_with_class_token(model: Any, trunk: Any, folder: Path) -> None:
    """The same weights and the vector, and the code that puts it in front."""
    from safetensors.torch import save_file

    from w2v2_mt.models.huggingface import CLASS_TOKEN_FILE, class_token_code, class_token_type
    from w2v2_mt.models.upstream import ENCODER_FOLDER

    has_letters = hasattr(model, "lm_head")
    prefix = f"{model.base_model_prefix}." if has_letters else ""
    weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    weights[f"{prefix}class_token"] = trunk.encoder.class_token.vector.detach().clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    module = CLASS_TOKEN_FILE.removesuffix(".py")
    settings = json.loads((folder / ENCODER_FOLDER / "config.json").read_text())
    settings |= {
        "model_type": class_token_type(settings["model_type"]),
        "architectures": ["ClassTokenForCTC" if has_letters else "ClassTokenModel"],
        "auto_map": {
            "AutoConfig": f"{module}.ClassTokenConfig",
            "AutoModel": f"{module}.ClassTokenModel",
            **({"AutoModelForCTC": f"{module}.ClassTokenForCTC"} if has_letters else {}),
        },
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / CLASS_TOKEN_FILE).write_text(class_token_code(trunk), encoding="utf-8")


def _write_processor(trained: "TrainedNetwork", folder: Path, *, has_letters: bool) -> None:
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    from w2v2_mt.core.units import SAMPLE_RATE_HZ
    from w2v2_mt.data.tokenizer import BLANK, WORD_BOUNDARY

    extractor = Wav2Vec2FeatureExtractor(
        feature_size=1,
        sampling_rate=SAMPLE_RATE_HZ,
        padding_value=0.0,
        do_normalize=True,
        # transformers' group norm of "base" models counts padding, masked or not.
        return_attention_mask=not _norm_counts_padding(trained.network.trunk.architecture),
    )
    if not has_letters:
        extractor.save_pretrained(folder)
        return
    assert trained.tokenizer is not None
    vocabulary = folder / "vocab.json"
    symbols = trained.tokenizer.symbols
    vocabulary.write_text(json.dumps({symbol: index for index, symbol in enumerate(symbols)}))
    specials = {
        name: symbol if symbol in symbols else None
        for name, symbol in (("bos_token", "<s>"), ("eos_token", "</s>"))
    }
    tokenizer = Wav2Vec2CTCTokenizer(
        str(vocabulary),
        pad_token=BLANK,
        unk_token="<unk>" if "<unk>" in symbols else BLANK,
        word_delimiter_token=WORD_BOUNDARY,
        clean_up_tokenization_spaces=False,
        **specials,
    )
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)


def _special_symbols(trained: "TrainedNetwork") -> list[str]:
    """Those that transformers leaves in a text."""
    from w2v2_mt.data.tokenizer import BLANK

    tokenizer = trained.tokenizer
    assert tokenizer is not None
    return [
        symbol
        for index, symbol in enumerate(tokenizer.symbols)
        if index not in tokenizer.character_of_index and symbol != BLANK
    ]


def _norm_counts_padding(architecture: dict[str, Any]) -> bool:
    """Models without the setting, such as data2vec, have layer norms only."""
    return architecture.get("feat_extract_norm", "layer") == "group"


def _write_speaker_head(trained: "TrainedNetwork", folder: Path) -> None:
    from safetensors.torch import save_file

    network: Any = trained.network
    settings = trained.config["network"]
    head = network.speaker_head if hasattr(network, "speaker_head") else network.head
    weights = {name: value.contiguous().clone() for name, value in head.state_dict().items()}
    save_file(weights, folder / SPEAKER_HEAD_FILE)
    guide = getattr(network, "letter_guided_pooling", None)
    frames = getattr(network, "num_speaker_dimensions", None) or network.trunk.out_dim
    description = {
        "frame_dimensions": [0, frames],
        "first_frame_is_class_token": network.trunk.num_class_tokens == 1,
        "frames_are_permuted": getattr(network, "permutation", None) is not None,
        "pooling": settings["stat_pooling_type"],
        "pools_frames_with": None
        if guide is None
        else {"best_letter_is_blank": guide.pool_blanks, "blank_index": guide.blank_index},
        "embedding_size": head.pooling.out_dim,
        "score": "cosine of two embeddings",
        "same_speaker_from": trained.metrics.get("val_eer_threshold"),
        "classifier": "cosine" if settings["use_cosine_linear"] else "linear",
        "num_subcentres": settings["num_subcentres"],
        "num_speakers": head.num_speakers,
    }
    (folder / SPEAKER_HEAD_DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def _card(trained: "TrainedNetwork", tasks: Sequence[str]) -> str:
    """A model card, with what was measured on dev sets when the checkpoint was written."""
    from w2v2_mt.models.upstream import ENCODER_FOLDER

    trunk = trained.network.trunk
    trust = "" if trunk.num_class_tokens == 0 else ", trust_remote_code=True"
    lines = [
        "---",
        "library_name: transformers",
        "tags:",
        *(f"- {tag}" for tag in ["audio", *tasks]),
        "---",
        "",
        f"# {trained.config['experiment_name']}",
        "",
        f"A {trunk.architecture['model_type']} for {' and '.join(tasks)} recognition, trained with "
        f"w2v2-mt for {trained.step} steps. It reads 16 kHz mono, each waveform scaled to zero "
        "mean and unit variance.",
        "",
        "```python",
    ]
    if "speech" in tasks:
        lines += [
            "from transformers import AutoModelForCTC, AutoProcessor",
            "",
            f'model = AutoModelForCTC.from_pretrained("."{trust})',
            f'processor = AutoProcessor.from_pretrained("."{trust})',
            'inputs = processor(waveform, sampling_rate=16_000, return_tensors="pt")',
            "letters = model(**inputs).logits.argmax(dim=-1)",
            "(text,) = processor.batch_decode(letters)",
            # Not skip_special_tokens, which drops blanks before repeats become one: "HELO".
            f"for symbol in {_special_symbols(trained)}:",
            '    text = text.replace(symbol, "")',
            'print(" ".join(text.split()))',
        ]
    else:
        lines += [
            "from transformers import AutoFeatureExtractor, AutoModel",
            "",
            f'model = AutoModel.from_pretrained("."{trust})',
            f'extractor = AutoFeatureExtractor.from_pretrained("."{trust})',
            'inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")',
            "frames = model(**inputs).last_hidden_state",
        ]
    lines += ["```", ""]
    if _norm_counts_padding(trunk.architecture):
        lines += ["Give it one utterance at a time: transformers lets padding into its norm.", ""]
    if trust:
        lines += [
            f"`{ENCODER_FOLDER}/` is the model without its class token, from which w2v2-mt trains "
            "on: not to transcribe with.",
            "",
        ]
    if "speaker" in tasks:
        lines += [
            f"`{SPEAKER_HEAD_FILE}` holds the pooling and the classifier over the training "
            f"speakers, which `{SPEAKER_HEAD_DESCRIPTION}` describes: the embedding is the pooled "
            "last hidden state of `AutoModel`.",
            "",
        ]
    lines += ["| measured on dev data | value |", "|---|---|"]
    lines += [
        f"| {name} | {value:.4f} |"
        for name, value in sorted(trained.metrics.items())
        if name.startswith("val_")
    ]
    return "\n".join(lines) + "\n"
