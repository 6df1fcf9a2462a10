import torch

from w2v2_mt.tasks.event_count import EventCount


def test_events_add_up_and_a_checkpoint_goes_on_with_them():
    before = EventCount()
    for number in (0, 3, 2):
        before.add(torch.tensor(number))
    after = EventCount()
    after.load_state_dict(before.state_dict())
    after.add(torch.tensor(4))
    assert int(before.total) == 5
    assert int(after.total) == 9
