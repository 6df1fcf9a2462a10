import torch

from w2v2_mt.training.callbacks.monitors import peak_memory


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
