"""The inputs of `peers.py`, the same for all sides: a model with random weights, and audio."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from importlib.resources import files
from itertools import islice
from pathlib import Path
from random import Random

import data_loading
import numpy as np
import soundfile
import torch
from data_loading import Utterance, draw_noise, draw_speech_durations, write_shards
from default_settings import random_upstream
from peer_turns import NUM_SPEAKERS, NUM_TOKENS_PER_SEC
from transformers import (
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    logging,
)

from w2v2_mt.audio.files import find_audio_files
from w2v2_mt.core.units import SAMPLE_RATE_HZ, seconds_from_samples
from w2v2_mt.models.upstream import load_config
from w2v2_mt.prepare.audio import decode
from w2v2_mt.prepare.options import AudioFormat
from w2v2_mt.settings.instantiation import instantiate

AUDIO_FORMATS: tuple[AudioFormat, ...] = ("flac", "wav")
UTTERANCES_PER_SHARD = 100
TRAIN_SET = "train_clean_100"


def write_model(folder: Path, architecture: str) -> None:
    """Save a CTC model with random weights and its processor, and a classifier of speakers."""
    settings = random_upstream(architecture)
    config = load_config(architecture, reset_weights=True)
    config.update(asdict(instantiate(settings["network"]["regularisation"])))
    config.update({"ctc_loss_reduction": "mean", "ctc_zero_infinity": True})
    logging.disable_progress_bar()
    torch.manual_seed(0)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    vocabulary = folder / "vocab.json"
    shutil.copyfile(str(files("w2v2_mt.data") / "vocabulary.json"), vocabulary)
    extractor = Wav2Vec2FeatureExtractor(
        # A model whose first layer normalizes over time was trained without a mask.
        return_attention_mask=config.feat_extract_norm == "layer"
    )
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    classifier = torch.nn.init.xavier_uniform_(torch.empty(NUM_SPEAKERS, config.hidden_size))
    np.save(folder / "classifier.npy", classifier.numpy())


def draw_utterances(source: Path | None, num_utterances: int) -> Iterator[Utterance]:
    """Yield audio of the files in a folder, or noise, with drawn transcriptions."""
    if source is None:
        waveforms = (noise for noise, _ in draw_noise(draw_speech_durations(num_utterances)))
    else:
        paths = islice(find_audio_files([source]), num_utterances)
        waveforms = (decode(path, source=str(path))[0] for path in paths)
    rng = Random(0)
    for number, waveform in enumerate(waveforms):
        num_letters = round(NUM_TOKENS_PER_SEC * seconds_from_samples(len(waveform)))
        yield (
            waveform,
            {
                "transcription": "".join(rng.choices("ETAOINSHRDLU ", k=num_letters)),
                "speaker_id": str(number % data_loading.NUM_SPEAKERS),
            },
        )


def write_audio(folder: Path, source: Path | None, num_utterances: int) -> None:
    """Write utterances as files and as shards of this project, in each format."""
    utterances = list(draw_utterances(source, num_utterances))
    for audio_format in AUDIO_FORMATS:
        files_folder = folder / audio_format
        files_folder.mkdir(parents=True)
        for number, (waveform, _) in enumerate(utterances):
            path = files_folder / f"{number:05d}.{audio_format}"
            soundfile.write(path, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
        write_shards(
            folder / f"shards_{audio_format}" / "librispeech_shards" / TRAIN_SET,
            utterances,
            samples_per_shard=UTTERANCES_PER_SHARD,
            audio_format=audio_format,
        )
    described = [
        {
            "key": f"{number:05d}",
            "num_samples": len(waveform),
            "text": labels["transcription"],
            "speaker": labels["speaker_id"],
        }
        for number, (waveform, labels) in enumerate(utterances)
    ]
    (folder / "utterances.json").write_text(json.dumps(described))
