"""A network: a pretrained trunk and one head per task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from w2v2_mt.models.heads import SpeakerHead, SpeakerOutput, SpeechHead, SpeechOutput, TaskHead
from w2v2_mt.models.shapes import Lengths, Rows, Waveforms
from w2v2_mt.models.trunk import FramePermutation, Trunk


class TaskNetwork(nn.Module):
    """A trunk and the heads of any number of tasks, by the task's name.

    The only head of a network is the module `head`, several are `<task>_head`: the names of their
    weights in checkpoints. `permutation` shuffles the frames that each head reads.
    """

    def __init__(
        self,
        *,
        trunk: Trunk,
        heads: Mapping[str, TaskHead],
        permutation: FramePermutation | None = None,
    ):
        super().__init__()
        self.trunk = trunk
        self._head_names = {task: "head" if len(heads) == 1 else f"{task}_head" for task in heads}
        for task, head in heads.items():
            self.add_module(self._head_names[task], head)
        self.permutation = permutation

    @property
    def heads(self) -> dict[str, Any]:
        """Return the head of each task."""
        return {task: self.get_submodule(name) for task, name in self._head_names.items()}

    def answer(
        self,
        waveforms: Waveforms,
        num_samples: Lengths,
        *,
        tasks: Sequence[str] | None = None,
        rows: Mapping[str, Rows | None] | None = None,
        known_lengths: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Return the output of each task's head, or of these tasks, running only what they need.

        `rows` are the utterances that the output of a task has; None or no entry means all.
        `known_lengths` are `num_samples` on the host, so that packing need not wait for the device.
        """
        poolings = {task: head.pooling for task, head in self.heads.items()}
        tasks = list(poolings if tasks is None else tasks)
        rows = dict.fromkeys(tasks) | dict(rows or {})
        # A task whose output guides the pooling of another one is answered before it.
        guides, encoded_rows = {}, dict(rows)
        for way in self.trunk.ways:
            for task in tasks:
                if poolings[task] is not None and (guide := way.guide_of(task)) is not None:
                    guides[guide] = way.keeps_guide_graph()
                    rows.setdefault(guide, rows[task])
                    encoded_rows.setdefault(guide, rows[guide])
                    if rows[guide] is not rows[task]:
                        encoded_rows[guide] = None
        order = list(dict.fromkeys([*guides, *tasks]))
        detached = [guide for guide, keeps in guides.items() if not keeps and guide not in tasks]
        all_layers = [task for task in order if getattr(poolings[task], "needs_all_layers", False)]
        encoded = self.trunk.encode(
            waveforms,
            num_samples,
            tasks=order,
            rows=encoded_rows,
            known_lengths=known_lengths,
            without_gradient=detached,
            all_layers=all_layers,
        )
        outputs: dict[str, Any] = {}

        def run_head(task: str, own_rows: Rows | None) -> Any:
            is_selected = encoded_rows[task] is own_rows
            own = encoded[task].select(None if is_selected else own_rows)
            return self._run_head(task, own.frames, own.num_frames, guide_output)

        def guide_output(guide: str, task: str) -> Any:
            if rows[guide] is rows[task]:
                return outputs[guide]
            with torch.set_grad_enabled(torch.is_grad_enabled() and guides[guide]):
                return run_head(guide, rows[task])

        for task in order:
            with torch.set_grad_enabled(torch.is_grad_enabled() and task not in detached):
                outputs[task] = run_head(task, rows[task])
        return {task: outputs[task] for task in tasks}

    def _run_head(
        self,
        task: str,
        frames: Tensor,
        num_frames: Lengths,
        guide_output: Callable[[str, str], Any],
    ) -> Any:
        """Run a head; `guide_output` returns the output of a guide for the rows of a task."""
        head, selected = self.heads[task], None
        for way in self.trunk.ways:
            frames = way.adapt_frames(frames, task=task, module=self.trunk.task_module(way, task))
            if head.pooling is not None and (guide := way.guide_of(task)) is not None:
                selected = way.select_frames(guide_output(guide, task))
                # Its batch may have been padded to an utterance that this task does not have.
                selected = selected[:, : frames.shape[-2]]
        if self.permutation is not None:
            frames = self.permutation(frames, num_frames)
        if not head.reads_class_token:
            num_tokens = self.trunk.num_class_tokens
            frames, num_frames = frames[..., num_tokens:, :], num_frames - num_tokens
        return head(frames, num_frames, selected)

    def split_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the trained parameters that all tasks share, and those of single tasks."""
        shared = set(self.trunk.parameters()) - self.trunk.task_parameters()
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return (
            [parameter for parameter in trained if parameter in shared],
            [parameter for parameter in trained if parameter not in shared],
        )


class SpeechNetwork(TaskNetwork):
    """A network that maps waveforms to tokens."""

    def __init__(self, *, trunk: Trunk, head: SpeechHead):
        super().__init__(trunk=trunk, heads={"speech": head})

    def forward(self, waveforms: Waveforms, num_samples: Lengths) -> SpeechOutput:
        """Return the scores of the tokens at each frame."""
        return self.answer(waveforms, num_samples)["speech"]


class SpeakerNetwork(TaskNetwork):
    """A network that maps waveforms to speaker embeddings."""

    def __init__(
        self, *, trunk: Trunk, head: SpeakerHead, permutation: FramePermutation | None = None
    ):
        super().__init__(trunk=trunk, heads={"speaker": head}, permutation=permutation)

    def forward(self, waveforms: Waveforms, num_samples: Lengths) -> SpeakerOutput:
        """Return an embedding of each utterance and the logits of the training speakers."""
        return self.answer(waveforms, num_samples)["speaker"]


@dataclass(frozen=True, kw_only=True)
class MultiTaskOutput:
    """The outputs of both tasks for one batch of waveforms."""

    speech: SpeechOutput
    speaker: SpeakerOutput


class MultiTaskNetwork(TaskNetwork):
    """A network that maps waveforms to tokens and to speaker embeddings."""

    def __init__(self, *, trunk: Trunk, speech_head: SpeechHead, speaker_head: SpeakerHead):
        super().__init__(trunk=trunk, heads={"speech": speech_head, "speaker": speaker_head})

    def forward(self, waveforms: Waveforms, num_samples: Lengths) -> MultiTaskOutput:
        """Return the outputs of both heads for the same waveforms."""
        return MultiTaskOutput(**self.answer(waveforms, num_samples))
