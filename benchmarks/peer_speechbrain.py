"""SpeechBrain's side of `peers.py`: the parts of its recipes, in its `Brain` and its interfaces.

Speech: the CTC recipe of LibriSpeech, without the feed-forward layers that it adds to wav2vec2.
Speakers: mean pooling as its recipe of emotions with wav2vec2, classifier and loss of its recipe of
VoxCeleb. Both freeze the convolutions as the recipe of emotions does, which runs no gradient
through them.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain
import torch
from peer_turns import (
    LEARNING_RATE,
    MAX_GRADIENT_NORM,
    NUM_SPEAKERS,
    NUM_TOKENS,
    Job,
    Round,
    Variant,
    audio_path,
    audio_result,
    draw_utterances,
    embedding_result,
    in_best_batches,
    loading_result,
    read_utterances,
    serve,
    step_result,
)
from safetensors.torch import load_file
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import read_audio
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.encoder import CTCTextEncoder
from speechbrain.dataio.sampler import DynamicBatchSampler
from speechbrain.decoders import ctc_greedy_decode
from speechbrain.inference.ASR import EncoderASR
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from speechbrain.nnet.activations import Softmax
from speechbrain.nnet.containers import LengthsCapableSequential
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.losses import AdditiveAngularMargin, LogSoftmaxWrapper, ctc_loss
from speechbrain.nnet.pooling import StatisticsPooling
from torch import nn

NUM_BUCKETS = 30
"""The buckets of `DynamicBatchSampler`: few enough that batches fill up."""


def load_encoder(job: Job) -> Wav2Vec2:
    """Load the wav2vec2 of the job, with frozen convolutions."""
    encoder = Wav2Vec2(job["model"], save_path=job["model"], freeze_feature_extractor=True)
    encoder.model.feature_extractor._freeze_parameters()
    return encoder


def load_ctc_head(job: Job, dim: int) -> Linear:
    """Load the last layer of the CTC model of the job."""
    head = Linear(input_size=dim, n_neurons=NUM_TOKENS)
    weights = load_file(str(Path(job["model"], "model.safetensors")))
    head.w.load_state_dict({name: weights[f"lm_head.{name}"] for name in ("weight", "bias")})
    return head


class RecipeBrain(speechbrain.Brain):
    """A Brain with the two Adams of the recipes, one of them of wav2vec2."""

    def init_optimizers(self) -> None:
        head = [each for name, each in self.modules.items() if name != "wav2vec2"]
        self.optimizers_dict = {
            "model_optimizer": torch.optim.Adam(nn.ModuleList(head).parameters(), LEARNING_RATE),
            "wav2vec2_optimizer": torch.optim.Adam(
                self.modules["wav2vec2"].parameters(), LEARNING_RATE
            ),
        }


class SpeechBrainCtc(RecipeBrain):
    """The CTC recipe."""

    def compute_forward(self, batch: Any, stage: Any) -> Any:
        waveforms, lengths = batch.sig
        logits = self.modules.ctc_lin(self.modules.wav2vec2(waveforms, lengths))
        return self.hparams.log_softmax(logits), lengths

    def compute_objectives(self, predictions: Any, batch: Any, stage: Any) -> torch.Tensor:
        log_probabilities, lengths = predictions
        tokens, token_lengths = batch.tokens
        return ctc_loss(log_probabilities, tokens, lengths, token_lengths, blank_index=0)


class SpeechBrainSpeaker(RecipeBrain):
    """Mean pooling, a cosine classifier and AAM-softmax."""

    def compute_forward(self, batch: Any, stage: Any) -> Any:
        waveforms, lengths = batch.sig
        frames = self.modules.wav2vec2(waveforms, lengths)
        return self.modules.classifier(self.hparams.pooling(frames, lengths))

    def compute_objectives(self, predictions: Any, batch: Any, stage: Any) -> torch.Tensor:
        return self.hparams.compute_cost(predictions, batch.speaker.data)


def build_step(kind: type[RecipeBrain], modules: dict[str, Any], hparams: dict[str, Any]) -> Round:
    """Return the step of a Brain, which has one more of them for bf16 with the same state."""
    options = {"device": "cpu", "max_grad_norm": MAX_GRADIENT_NORM}
    brains = {
        precision: kind(modules=modules, hparams=hparams, run_opts=options | {"precision": name})
        for precision, name in {"float32": "fp32", "bf16": "bf16"}.items()
    }
    brains["float32"].init_optimizers()
    brains["bf16"].optimizers_dict = brains["float32"].optimizers_dict
    for brain in brains.values():
        brain.modules.train()

    def step(variant: Variant) -> dict[str, Any]:
        batch = PaddedBatch(
            [
                {
                    "id": str(number),
                    "sig": torch.from_numpy(each["waveform"]),
                    "tokens": torch.from_numpy(each["tokens"]),
                    "speaker": torch.tensor([each["speaker"]]),
                }
                for number, each in enumerate(draw_utterances(variant["durations_sec"]))
            ]
        )
        return step_result(brains[variant["precision"]].fit_batch(batch))

    return step


def speech_step(job: Job) -> Round:
    """Return a CTC training step."""
    encoder = load_encoder(job)
    modules = {"wav2vec2": encoder, "ctc_lin": load_ctc_head(job, encoder.config.hidden_size)}
    return build_step(SpeechBrainCtc, modules, {"log_softmax": Softmax(apply_log=True)})


def speaker_step(job: Job) -> Round:
    """Return a training step of AAM-softmax."""
    encoder = load_encoder(job)
    classifier = Classifier(encoder.config.hidden_size, out_neurons=NUM_SPEAKERS)
    weight = torch.from_numpy(np.load(Path(job["model"], "classifier.npy")))
    classifier.load_state_dict({"weight": weight})
    hparams = {
        "pooling": StatisticsPooling(return_std=False),
        "compute_cost": LogSoftmaxWrapper(AdditiveAngularMargin(margin=0.2, scale=30)),
    }
    return build_step(SpeechBrainSpeaker, {"wav2vec2": encoder, "classifier": classifier}, hparams)


class Unchanged(nn.Module):
    """The normalization of features that `EncoderClassifier` needs, and wav2vec2 does not."""

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return features


def embed(job: Job) -> Round:
    """Return the embeddings of `EncoderClassifier`, in batches of the size that is fastest here."""
    modules = {
        "compute_features": load_encoder(job),
        "mean_var_norm": Unchanged(),
        "embedding_model": StatisticsPooling(return_std=False),
        "classifier": nn.Identity(),
    }
    classifier = EncoderClassifier(modules=modules, hparams={}, run_opts={"device": "cpu"})

    @torch.inference_mode()
    def embed_batch(utterances: Sequence[dict[str, Any]]) -> list[torch.Tensor]:
        return list(classifier.encode_batch(*load_batch(classifier, job, utterances))[:, 0])

    predict_all = in_best_batches(job, embed_batch)

    def run_round(_: Variant) -> dict[str, Any]:
        embeddings, batch_size = predict_all()
        return embedding_result(job, embeddings, batch_size=batch_size)

    return run_round


def load_batch(
    interface: Any, job: Job, utterances: Sequence[dict[str, Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return padded waveforms and their lengths relative to the longest."""
    waveforms = [interface.load_audio(audio_path(job, each, "flac")) for each in utterances]
    lengths = torch.tensor([len(each) for each in waveforms])
    return nn.utils.rnn.pad_sequence(waveforms, batch_first=True), lengths / lengths.max()


def transcribe(job: Job) -> Round:
    """Return the transcripts of `EncoderASR`, in batches of the size that is fastest here."""
    encoder = load_encoder(job)
    head = load_ctc_head(job, encoder.config.hidden_size)
    symbols = json.loads(Path(job["model"], "vocab.json").read_text())
    tokenizer = CTCTextEncoder()
    for symbol, index in symbols.items():
        text = " " if symbol == "|" else symbol
        tokenizer.insert_label(text if len(text) == 1 else f"<{index}>", index)
    tokenizer.ind2lab = {
        index: label if len(label) == 1 else "" for index, label in tokenizer.ind2lab.items()
    }
    sequence = LengthsCapableSequential(encoder, head, Softmax(apply_log=True))
    recognizer = EncoderASR(
        modules={"encoder": sequence},
        hparams={
            "tokenizer": tokenizer,
            "decoding_function": functools.partial(ctc_greedy_decode, blank_id=0),
        },
        run_opts={"device": "cpu"},
    )

    def transcribe_batch(utterances: Sequence[dict[str, Any]]) -> list[str]:
        texts, _ = recognizer.transcribe_batch(*load_batch(recognizer, job, utterances))
        return [" ".join(text.split()) for text in texts]

    predict_all = in_best_batches(job, transcribe_batch)

    def run_round(_: Variant) -> dict[str, Any]:
        transcripts, batch_size = predict_all()
        return audio_result(read_utterances(job), transcripts=transcripts, batch_size=batch_size)

    return run_round


def load(job: Job) -> Round:
    """Return one pass over all utterances in batches of similar lengths."""
    index_of = json.loads(Path(job["model"], "vocab.json").read_text())
    utterances = {each["key"]: each for each in read_utterances(job)}

    def encode(text: str) -> torch.Tensor:
        return torch.tensor([index_of["|" if letter == " " else letter] for letter in text])

    def read_epoch(variant: Variant) -> dict[str, Any]:
        data = {
            key: {
                "path": audio_path(job, each, variant["format"]),
                "duration": each["num_samples"] / 16_000,
                "text": each["text"],
            }
            for key, each in utterances.items()
        }
        dataset = DynamicItemDataset(data)
        dataset.add_dynamic_item(read_audio, takes="path", provides="sig")
        dataset.add_dynamic_item(encode, takes="text", provides="tokens")
        dataset.set_output_keys(["id", "sig", "tokens"])
        sampler = DynamicBatchSampler(dataset, job["max_batch_sec"], num_buckets=NUM_BUCKETS)
        loader = SaveableDataLoader(dataset, batch_sampler=sampler, collate_fn=PaddedBatch)
        lengths = []
        for batch in loader:
            waveforms, relative = batch.sig
            lengths.append((relative * waveforms.shape[1]).round().int().tolist())
        return loading_result(lengths)

    return read_epoch


if __name__ == "__main__":
    serve(
        {
            "speech_step": speech_step,
            "speaker_step": speaker_step,
            "embed": embed,
            "transcribe": transcribe,
            "load": load,
        }
    )
