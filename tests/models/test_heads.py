import pytest
import torch

from tests.helpers.small_networks import (
    save_architecture,
    small_multi_task_network,
    small_speaker_network,
)
from w2v2_mt.models.heads import CosineLinear, SpeakerHead, SpeechHead
from w2v2_mt.models.pooling import MeanPooling


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "base")


@pytest.fixture
def embeddings():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_subcentres", [1, 3])
def test_the_cosine_of_a_class_is_the_largest_of_its_subcentres(embeddings, num_subcentres):
    torch.manual_seed(1)
    classifier = CosineLinear(4, 5, num_subcentres=num_subcentres)
    assert classifier.weight.shape == (5 * num_subcentres, 4)
    cosines = classifier(embeddings)
    assert cosines.shape == (6, 5)
    for row, embedding in enumerate(embeddings):
        for label in range(5):
            own = classifier.weight[label * num_subcentres : (label + 1) * num_subcentres]
            expected = max(
                torch.nn.functional.cosine_similarity(embedding, centre, dim=0).item()
                for centre in own
            )
            assert cosines[row, label].item() == pytest.approx(expected, abs=1e-6)


def test_only_the_nearest_subcentre_of_a_class_is_trained(embeddings):
    torch.manual_seed(1)
    classifier = CosineLinear(4, 2, num_subcentres=3)
    classifier(embeddings[:1])[0, 1].backward()
    is_trained = classifier.weight.grad.abs().sum(dim=1) > 0
    nearest = 3 + int(
        (classifier.weight[3:] @ embeddings[0] / classifier.weight[3:].norm(dim=1)).argmax()
    )
    assert is_trained.nonzero().flatten().tolist() == [nearest]


def test_subcentres_stay_in_float32_under_autocast(embeddings):
    torch.manual_seed(1)
    classifier = CosineLinear(4, 5, num_subcentres=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = classifier(embeddings)
    assert torch.equal(under_autocast, classifier(embeddings))


@pytest.mark.parametrize("classifier", ["cosine", "linear"])
def test_a_head_knows_its_number_of_speakers(classifier):
    head = SpeakerHead(
        pooling=MeanPooling(4),
        num_speakers=7,
        classifier=classifier,
        num_subcentres=2 if classifier == "cosine" else 1,
        dropout=0.0,
    )
    logits = head(torch.randn(2, 3, 4), torch.tensor([3, 2])).logits
    assert head.num_speakers == logits.shape[1] == 7


@pytest.mark.parametrize("build", [small_speaker_network, small_multi_task_network])
def test_the_number_of_subcentres_reaches_the_classifier(architecture, build):
    network = build(architecture, num_subcentres=3)
    head = network.head if build is small_speaker_network else network.speaker_head
    assert head.classifier.weight.shape == (15, 32)


@pytest.mark.parametrize("build", [small_speaker_network, small_multi_task_network])
def test_subcentres_without_cosines_are_refused(architecture, build):
    with pytest.raises(
        ValueError,
        match=r"num_subcentres \(2\) needs a cosine classifier. Set it to 1 or set network.use",
    ):
        build(architecture, num_subcentres=2, use_cosine_linear=False)


def test_logits_of_the_ctc_head_stay_in_float32_under_autocast():
    torch.manual_seed(0)
    head = SpeechHead(dim=8, num_tokens=5, dropout=0.0, prior=None)
    frames, num_frames = torch.randn(2, 7, 8), torch.tensor([7, 3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = head(frames, num_frames).logits
    assert torch.equal(under_autocast, head(frames, num_frames).logits)
