"""The objective of the speaker task: embeddings, trained by classification, evaluated by EER."""

from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.models.heads import SpeakerOutput
from w2v2_mt.tasks.event_counter import EventCounter
from w2v2_mt.tasks.objective import Objective, ObjectiveResult
from w2v2_mt.tasks.speaker_evaluation import SpeakerEvaluation


class SpeakerObjective(Objective):
    """Classification of the training speakers."""

    def __init__(self, evaluation: SpeakerEvaluation):
        super().__init__(evaluation)
        self.loss = evaluation.loss
        self.without_selection = EventCounter()

    def set_step(self, step: int) -> None:
        """Ramp the margin of the loss."""
        self.loss.set_step(step)

    def forward(self, output: SpeakerOutput, batch: SpeakerBatch) -> ObjectiveResult:
        """Compute the loss and the accuracy of a batch; logits carry no margin."""
        is_correct = output.logits.argmax(dim=-1) == batch.speaker_indices
        counters = {}
        if output.num_without_selection is not None:
            self.without_selection.add(output.num_without_selection)
            counters["train_num_without_selection"] = self.without_selection
        return ObjectiveResult(
            loss=self.loss(output.logits, batch.speaker_indices),
            metrics={"train_acc": is_correct.float().mean()},
            counters=counters,
        )
