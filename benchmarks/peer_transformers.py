"""HuggingFace's side of `peers.py`: transformers as its examples and its pipeline use it.

The training step is that of its example `run_speech_recognition_ctc.py`: padding by the processor,
an attention mask where the model wants one, the default attention, a fused AdamW and clipping.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile
import torch
from peer_turns import (
    LEARNING_RATE,
    MAX_GRADIENT_NORM,
    Job,
    Round,
    Variant,
    audio_path,
    audio_result,
    autocast,
    draw_utterances,
    embedding_result,
    in_best_batches,
    read_utterances,
    serve,
    step_result,
)
from transformers import (
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    Wav2Vec2Processor,
    pipeline,
)


def speech_step(job: Job) -> Round:
    """Return a CTC training step."""
    processor = Wav2Vec2Processor.from_pretrained(job["model"])
    model = Wav2Vec2ForCTC.from_pretrained(job["model"])
    model.freeze_feature_encoder()
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0, fused=True)

    def step(variant: Variant) -> dict[str, Any]:
        utterances = draw_utterances(variant["durations_sec"])
        batch = processor.pad(
            input_features=[{"input_values": each["waveform"]} for each in utterances],
            labels=[{"input_ids": each["tokens"].tolist()} for each in utterances],
            padding="longest",
            return_tensors="pt",
        )
        is_real = torch.zeros_like(batch["labels"], dtype=torch.bool)
        for row, each in zip(is_real, utterances, strict=True):
            row[: len(each["tokens"])] = True
        batch["labels"] = batch["labels"].masked_fill(~is_real, -100)
        with autocast(variant):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return step_result(loss)

    return step


def read_waveforms(job: Job, utterances: Sequence[dict[str, Any]]) -> list[np.ndarray]:
    """Decode files with soundfile, which costs less than the process of ffmpeg per file."""
    return [
        soundfile.read(audio_path(job, each, "flac"), dtype="float32")[0] for each in utterances
    ]


def embed(job: Job) -> Round:
    """Return the mean of the last layer's frames, file by file, since padding would change it."""
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(job["model"])
    model = Wav2Vec2Model.from_pretrained(job["model"]).eval()

    @torch.inference_mode()
    def embed_file(utterance: dict[str, Any]) -> torch.Tensor:
        (waveform,) = read_waveforms(job, [utterance])
        inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")
        return model(**inputs).last_hidden_state.mean(dim=1)[0]

    def run_round(_: Variant) -> dict[str, Any]:
        embeddings = {each["key"]: embed_file(each) for each in read_utterances(job)}
        return embedding_result(job, embeddings, batch_size=1)

    return run_round


def transcribe(job: Job) -> Round:
    """Return the transcripts of the pipeline, with the batch size that is fastest here."""
    recognizer: Any = pipeline("automatic-speech-recognition", model=job["model"], device="cpu")

    def transcribe_batch(utterances: Sequence[dict[str, Any]]) -> list[str]:
        inputs = [
            {"raw": waveform, "sampling_rate": 16_000}
            for waveform in read_waveforms(job, utterances)
        ]
        texts = [each["text"] for each in recognizer(inputs, batch_size=len(inputs))]
        for special in ("<s>", "</s>", "<unk>"):
            texts = [text.replace(special, "") for text in texts]
        return [" ".join(text.split()) for text in texts]

    predict_all = in_best_batches(job, transcribe_batch)

    def run_round(_: Variant) -> dict[str, Any]:
        transcripts, batch_size = predict_all()
        return audio_result(read_utterances(job), transcripts=transcripts, batch_size=batch_size)

    return run_round


if __name__ == "__main__":
    serve({"speech_step": speech_step, "embed": embed, "transcribe": transcribe})
