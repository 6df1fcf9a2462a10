import pytorch_lightning as pl
import torch

from tests.helpers.callback_trainer import trainer_with
from w2v2_mt.training.callbacks.monitors import ValidationLines, peak_memory


def test_the_peak_of_memory_is_that_of_the_process_and_of_its_gpu(monkeypatch):
    before = peak_memory(torch.device("cpu"))
    taken = torch.ones(2**28)  # 1 GiB
    after = peak_memory(torch.device("cpu"))
    assert before.keys() == after.keys() == {"memory_process_gib"}
    assert after["memory_process_gib"] >= max(before["memory_process_gib"], 1)
    del taken
    assert peak_memory(torch.device("cpu")) == after

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**29)
    assert peak_memory(torch.device("cuda:0"))["memory_gpu_gib"] == 1.5


def test_a_validation_is_one_line_of_the_validation_metrics(capsys):
    trainer = trainer_with({"val_wer_other": 0.25, "val_eer": 1 / 3, "train_loss": 1.0})
    ValidationLines().on_validation_end(trainer, pl.LightningModule())
    assert capsys.readouterr().out == "step 7: eer 33.33 %, wer_other 25.00 %\n"
