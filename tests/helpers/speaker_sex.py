"""A third task of one's own: the sex of the speaker, from the meta files of VoxCeleb.

One head, one objective with its evaluation, one part of the data; the yaml is in the test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from w2v2_mt.core.batches import WaveformBatch
from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.core.samples import EncodedSample, SpeakerSample, speaker_of
from w2v2_mt.data.speaker import SpeakerData
from w2v2_mt.models.heads import TaskHead
from w2v2_mt.models.network_settings import MultiTaskNetworkSettings
from w2v2_mt.models.networks import TaskNetwork
from w2v2_mt.models.pooling import MeanPooling
from w2v2_mt.prepare.voxceleb_utterances import read_sexes
from w2v2_mt.tasks.evaluation import Evaluation
from w2v2_mt.tasks.objective import Objective, ObjectiveResult, ObjectiveSettings

SEXES = ("f", "m")


@dataclass(frozen=True, kw_only=True)
class SexBatch(WaveformBatch):
    """Utterances with the index of the sex of each speaker in SEXES."""

    task = "sex"
    sexes: Tensor

    @classmethod
    def collate(cls, samples: Sequence[tuple[SpeakerSample, int]], *, set_name: str) -> "SexBatch":
        speakers, sexes = zip(*samples, strict=True)
        return cls.pad(speakers, set_name=set_name, sexes=torch.tensor(sexes))


class SexData(SpeakerData):
    """The data of the speaker task with other labels."""

    collate = SexBatch.collate  # type: ignore[assignment]

    def __init__(self, *, meta_path: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.meta_path = Path(meta_path)

    def network_sizes(self) -> dict[str, Any]:
        return {}

    def sample_maker(self, *, is_training: bool) -> Callable[[EncodedSample], Any]:
        make_sample = super().sample_maker(is_training=is_training)
        return partial(make_sample_with_sex, make_sample, read_sexes(self.meta_path))


def make_sample_with_sex(
    make_sample: Callable[[EncodedSample], SpeakerSample],
    sexes: Mapping[str, str],
    sample: EncodedSample,
) -> tuple[SpeakerSample, int]:
    return make_sample(sample), SEXES.index(sexes[speaker_of(sample.key)])


class SexHead(TaskHead):
    """The mean over frames, and a linear layer."""

    def __init__(self, dim: int) -> None:
        super().__init__(MeanPooling(dim))
        self.linear = nn.Linear(dim, len(SEXES))

    def forward(self, frames: Tensor, num_frames: Tensor, selected: Tensor | None = None) -> Tensor:
        return self.linear(self.pooling(frames, num_frames))  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class ThreeTaskNetworkSettings(MultiTaskNetworkSettings):
    """The settings of a network with the third head."""

    tasks = ("speech", "speaker", "sex")  # type: ignore[assignment]

    def build(self, **sizes: Any) -> TaskNetwork:  # type: ignore[override]
        network = super().build(**sizes)
        heads = {**network.heads, "sex": SexHead(network.trunk.head_dims["sex"])}
        return TaskNetwork(trunk=network.trunk, heads=heads)


class SexEvaluation(Evaluation):
    """Hits of each utterance."""

    def reset(self) -> None:
        self.hits: dict[str, bool] = {}

    def add_validated(self, output: Tensor, batch: SexBatch) -> None:
        self.hits |= zip(batch.keys, (output.argmax(dim=1) == batch.sexes).tolist(), strict=True)

    add_tested = add_validated

    def gather(self) -> None:
        for hits in gather_from_processes(self.hits):
            self.hits |= hits

    def validation_names(self, *, is_only_task: bool) -> list[str]:
        return ["val_sex_error"]

    def validation_metrics(self, *, is_only_task: bool) -> dict[str, float]:
        return {"val_sex_error": 1 - sum(self.hits.values()) / len(self.hits)}

    def score(self, metrics: Mapping[str, float]) -> float:
        return metrics["val_sex_error"]

    def test_metrics(self) -> dict[str, float]:
        return {"test_sex_error": self.validation_metrics(is_only_task=False)["val_sex_error"]}

    def test_files(self) -> dict[str, list[str]]:
        return {"sexes.txt": [f"{key} {int(hit)}" for key, hit in sorted(self.hits.items())]}


class SexObjective(Objective):
    """Cross entropy of the sexes."""

    def __init__(self) -> None:
        super().__init__(SexEvaluation())

    def forward(self, output: Tensor, batch: SexBatch) -> ObjectiveResult:
        is_correct = output.argmax(dim=1) == batch.sexes
        return ObjectiveResult(
            loss=F.cross_entropy(output.float(), batch.sexes),
            metrics={"train_sex_acc": is_correct.float().mean()},
        )


class SexObjectiveSettings(ObjectiveSettings):
    """The settings of this objective: none."""

    def build(self, data: SexData) -> SexObjective:
        return SexObjective()
