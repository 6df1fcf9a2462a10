"""A network as a graph for other tools: from waveforms as they are read to plain tensors."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.padding import real_mask
from w2v2_mt.models.networks import (
    MultiTaskNetwork,
    MultiTaskOutput,
    SpeakerNetwork,
    SpeechNetwork,
    SpeechOutput,
)

Network = SpeechNetwork | SpeakerNetwork | MultiTaskNetwork


class WaveformsToAnswers(nn.Module):
    """Scales waveforms as in training and gives logits and numbers of frames, then embeddings.

    What a network does not answer is left out. Scaling is over the real samples of each waveform:
    (x - mean) / sqrt(variance + eps).
    """

    def __init__(self, network: Network, *, eps: float):
        super().__init__()
        self.network = network
        self.eps = eps

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> tuple[Tensor, ...]:
        output = self.network(self._scaled(waveforms, num_samples), num_samples)
        if isinstance(output, MultiTaskOutput):
            speech = output.speech
            return speech.logits, speech.num_frames, output.speaker.embeddings
        if isinstance(output, SpeechOutput):
            return output.logits, output.num_frames
        return (output.embeddings,)

    def _scaled(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch samples"]:
        is_real = real_mask(num_samples, waveforms.shape[1])
        count = num_samples.clamp(min=1)[:, None]
        # In double precision, since other tools add up one sample after the other: in single, the
        # logits of a minute are then 0.007 away.
        samples = torch.where(is_real, waveforms.double(), 0)
        centred = torch.where(is_real, samples - samples.sum(dim=1, keepdim=True) / count, 0)
        variance = centred.square().sum(dim=1, keepdim=True) / count
        return (centred / torch.sqrt(variance + self.eps)).float()


def check_traceable(network: Network) -> None:
    """ValueError for a network whose operations depend on more than the values of its input."""
    behind = network.permutation if isinstance(network, SpeakerNetwork) else None
    if network.trunk.permutation is not None or behind is not None:
        raise ValueError(
            "it shuffles the frames, and a graph has no such random numbers; export a network "
            "that was trained with network.random_permutation_mode=null."
        )
