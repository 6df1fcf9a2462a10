import pytest
import torch

from tests.helpers.small_networks import (
    UPSTREAMS,
    save_architecture,
    sharing_combinations,
    small_multi_task_network,
    small_speaker_network,
    small_speech_network,
)
from w2v2_mt.models.pooling import POOLINGS
from w2v2_mt.models.sharing import SHARING_WAYS

NUM_SAMPLES = torch.tensor([8_000, 5_000])
SHARING = sharing_combinations(0, 1, len(SHARING_WAYS.names))
ALL_WAYS = "_".join(SHARING_WAYS.names)


@pytest.fixture(params=sorted(UPSTREAMS))
def architecture(request, tmp_path):
    torch.manual_seed(1)
    return save_architecture(tmp_path, request.param)


@pytest.fixture
def waveforms():
    generator = torch.Generator().manual_seed(2)
    waveforms = torch.randn(2, 8_000, generator=generator)
    waveforms[1, 5_000:] = 0
    return waveforms


def padded_to_four_times(waveforms):
    return torch.nn.functional.pad(waveforms, (0, 3 * waveforms.shape[1]))


@pytest.mark.parametrize("pooling", POOLINGS.names)
def test_an_embedding_does_not_depend_on_padding(architecture, waveforms, pooling):
    network = small_speaker_network(architecture, stat_pooling_type=pooling).eval()
    with torch.no_grad():
        alone = network(waveforms[1:, :5_000], NUM_SAMPLES[1:]).embeddings[0]
        together = network(padded_to_four_times(waveforms), NUM_SAMPLES).embeddings[1]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_tokens_do_not_depend_on_padding(architecture, waveforms):
    network = small_speech_network(architecture).eval()
    with torch.no_grad():
        alone = network(waveforms[1:, :5_000], NUM_SAMPLES[1:])
        together = network(padded_to_four_times(waveforms), NUM_SAMPLES)
    num_frames = int(alone.num_frames[0])
    assert num_frames == int(together.num_frames[1]) == 15
    torch.testing.assert_close(
        together.logits[1, :num_frames], alone.logits[0, :num_frames], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("sharing", SHARING)
def test_both_answers_of_a_multi_task_network_do_not_depend_on_padding(
    architecture, waveforms, sharing
):
    network = small_multi_task_network(architecture, **SHARING[sharing]).eval()
    with torch.no_grad():
        alone = network(waveforms[1:, :5_000], NUM_SAMPLES[1:])
        together = network(padded_to_four_times(waveforms), NUM_SAMPLES)
    num_frames = int(alone.speech.num_frames[0])
    torch.testing.assert_close(
        together.speech.logits[1, :num_frames],
        alone.speech.logits[0, :num_frames],
        atol=1e-4,
        rtol=0,
    )
    torch.testing.assert_close(
        together.speaker.embeddings[1], alone.speaker.embeddings[0], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("sharing", SHARING)
def test_answering_one_task_gives_what_answering_both_gives(architecture, waveforms, sharing):
    network = small_multi_task_network(architecture, **SHARING[sharing]).eval()
    with torch.no_grad():
        both = network(waveforms, NUM_SAMPLES)
        torch.testing.assert_close(
            network.answer(waveforms, NUM_SAMPLES, tasks=["speech"])["speech"].logits,
            both.speech.logits,
        )
        torch.testing.assert_close(
            network.answer(waveforms, NUM_SAMPLES, tasks=["speaker"])["speaker"].embeddings,
            both.speaker.embeddings,
        )


def test_the_ctc_head_does_not_read_the_class_token(architecture, waveforms):
    with_token = small_multi_task_network(architecture, stat_pooling_type="first+cls").eval()
    output = with_token(waveforms, NUM_SAMPLES)
    assert output.speech.logits.shape[1] == 24
    assert output.speech.num_frames.tolist() == [24, 15]


def test_only_a_learnable_class_token_is_a_parameter(architecture):
    constant = small_speaker_network(architecture, stat_pooling_type="first+cls")
    learnable = small_speaker_network(architecture, stat_pooling_type="first+cls+learnable")
    name = "trunk.encoder.class_token.vector"
    assert name not in dict(constant.named_parameters())
    assert name in dict(constant.named_buffers())
    assert name in dict(learnable.named_parameters())
    torch.testing.assert_close(learnable.state_dict()[name], torch.ones(32))


def test_a_batch_of_one_task_trains_only_its_own_branch(architecture, waveforms):
    network = small_multi_task_network(architecture, use_multi_branch_encoder=True)
    network.answer(waveforms, NUM_SAMPLES, tasks=["speech"])[
        "speech"
    ].logits.square().sum().backward()
    branches = network.trunk.encoder.branches
    assert all(p.grad is not None for p in branches["speech"].parameters())
    assert all(p.grad is None for p in branches["speaker"].parameters())
    assert all(p.grad is not None for p in network.trunk.encoder.shared.parameters())


@pytest.mark.parametrize("num_shared", range(4))
def test_branches_start_as_the_plain_encoder(architecture, waveforms, num_shared):
    torch.manual_seed(3)
    plain = small_multi_task_network(architecture).eval()
    torch.manual_seed(3)
    branched = small_multi_task_network(
        architecture, use_multi_branch_encoder=True, num_shared_transformers=num_shared
    ).eval()
    with torch.no_grad():
        expected, _ = plain.trunk(waveforms, NUM_SAMPLES, tasks=["speech"])
        frames, _ = branched.trunk(waveforms, NUM_SAMPLES, tasks=["speech", "speaker"])
    assert torch.equal(frames["speech"], expected["speech"])
    assert torch.equal(frames["speaker"], expected["speech"])


@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_all_ways_of_sharing_at_once_equal_a_loop(architecture, waveforms, pooling):
    network = small_multi_task_network(
        architecture, **SHARING[ALL_WAYS], stat_pooling_type=pooling
    ).eval()
    with torch.no_grad():
        for parameter in network.trunk.encoder.branches["speaker"].parameters():
            parameter.mul_(1.1)  # so that it matters whose branch is read
        logits = network(waveforms, NUM_SAMPLES).speech.logits
        network.speech_head.linear.bias[0] += (logits[..., 1:].amax(-1) - logits[..., 0]).median()
        frames, num_frames = network.trunk(waveforms, NUM_SAMPLES, tasks=["speech", "speaker"])
        output = network(waveforms, NUM_SAMPLES)
        for row in range(2):
            kept = []
            for index in range(int(num_frames[row])):
                scores = network.speech_head.linear(frames["speech"][row, index, 12:])
                torch.testing.assert_close(output.speech.logits[row, index], scores)
                if int(output.speech.logits[row, index].argmax()) != 0:
                    kept.append(frames["speaker"][row, index, :12])
            assert 1 < len(kept) < num_frames[row]
            values = torch.stack(kept)
            expected = values.mean(dim=0)
            if pooling == "mean+std":
                expected = torch.cat([expected, values.std(dim=0, correction=0)])
            torch.testing.assert_close(
                output.speaker.embeddings[row], expected, atol=1e-5, rtol=1e-4
            )


def test_a_split_gives_each_head_its_own_dimensions(architecture, waveforms):
    network = small_multi_task_network(architecture, num_speaker_dimensions=12).eval()
    assert network.speaker_head.pooling.out_dim == 12
    assert network.speech_head.linear.in_features == 20
    with torch.no_grad():
        frames, num_frames = network.trunk(waveforms, NUM_SAMPLES, tasks=["speech"])
        output = network(waveforms, NUM_SAMPLES)
    expected = frames["speech"][1, : num_frames[1], :12].mean(dim=0)
    torch.testing.assert_close(output.speaker.embeddings[1], expected)
    expected = network.speech_head.linear(frames["speech"][0, :, 12:])
    torch.testing.assert_close(output.speech.logits[0], expected)


@pytest.mark.parametrize("on_blanks", [False, True])
def test_ctc_guided_pooling_equals_a_loop_over_frames(architecture, waveforms, on_blanks):
    network = small_multi_task_network(
        architecture,
        enable_ctc_pool_speaker_embedding=True,
        ctc_pool_on_blank_embeddings=on_blanks,
    ).eval()
    with torch.no_grad():
        # Make blanks win about half of the frames.
        logits = network(waveforms, NUM_SAMPLES).speech.logits
        network.speech_head.linear.bias[0] += (logits[..., 1:].amax(-1) - logits[..., 0]).median()
        frames, num_frames = network.trunk(waveforms, NUM_SAMPLES, tasks=["speech"])
        output = network(waveforms, NUM_SAMPLES)
    for row in range(2):
        kept = []
        for frame in range(int(num_frames[row])):
            is_blank = int(output.speech.logits[row, frame].argmax()) == 0
            if is_blank == on_blanks:
                kept.append(frames["speech"][row, frame])
        assert 0 < len(kept) < num_frames[row]
        torch.testing.assert_close(
            output.speaker.embeddings[row], torch.stack(kept).mean(dim=0), atol=1e-5, rtol=1e-4
        )


def test_ctc_guided_pooling_without_a_token_uses_all_frames_and_counts_it(architecture, waveforms):
    network = small_multi_task_network(architecture, enable_ctc_pool_speaker_embedding=True).eval()
    with torch.no_grad():
        network.speech_head.linear.bias[0] = 1e4
        frames, num_frames = network.trunk(waveforms, NUM_SAMPLES, tasks=["speech"])
        output = network.answer(waveforms, NUM_SAMPLES, tasks=["speaker"])["speaker"]
    assert int(output.num_without_selection) == 2
    torch.testing.assert_close(
        output.embeddings[1], frames["speech"][1, : num_frames[1]].mean(dim=0)
    )


def num_values_kept(network, waveforms):
    """By the graph of a speaker batch."""
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network.answer(waveforms, NUM_SAMPLES, tasks=["speaker"])["speaker"]
    return sum(kept.values()), output


@pytest.mark.parametrize("layer_weights", ["last", "learned"])
def test_tokens_that_only_guide_keep_no_graph(architecture, waveforms, layer_weights):
    branched = {
        "use_multi_branch_encoder": True,
        "num_shared_transformers": 0,
        "layer_weights": layer_weights,
    }
    kept, embeddings = {}, {}
    for name, settings in {
        "unguided": {},
        "without": {"enable_ctc_pool_speaker_embedding": True},
        "with": {"enable_ctc_pool_speaker_embedding": True, "enable_ctc_pool_no_grad": False},
    }.items():
        torch.manual_seed(3)
        network = small_multi_task_network(architecture, **branched, **settings)
        kept[name], output = num_values_kept(network, waveforms)
        embeddings[name] = output.embeddings
    assert kept["without"] < 1.02 * kept["unguided"] < 1.2 * kept["unguided"] < kept["with"]
    assert torch.equal(embeddings["without"], embeddings["with"])


def test_logits_of_the_cosine_classifier_are_cosines(architecture, waveforms):
    network = small_speaker_network(architecture).eval()
    with torch.no_grad():
        output = network(waveforms, NUM_SAMPLES)
    weight = network.head.classifier.weight[3]
    expected = torch.nn.functional.cosine_similarity(output.embeddings[1], weight, dim=0)
    torch.testing.assert_close(output.logits[1, 3], expected)


@pytest.mark.parametrize("num_shared_transformers", [0, 2])
@pytest.mark.parametrize("sharing", SHARING)
def test_shared_parameters_are_those_that_both_tasks_reach(
    architecture, waveforms, sharing, num_shared_transformers
):
    network = small_multi_task_network(
        architecture,
        **SHARING[sharing],
        num_shared_transformers=num_shared_transformers,
        completely_freeze_feature_extractor=True,
    )

    def reached_by(task):
        network.zero_grad()
        network.answer(waveforms, NUM_SAMPLES, tasks=[task])[task].logits.sum().backward()
        return {name for name, each in network.named_parameters() if each.grad is not None}

    by_both = reached_by("speech") & reached_by("speaker")
    by_any = reached_by("speech") | reached_by("speaker")
    shared, unshared = network.split_parameters()
    names = {parameter: name for name, parameter in network.named_parameters()}
    # Of nothing masked, nobody reaches the vector that masks.
    assert {names[parameter] for parameter in shared} == by_both
    assert {names[parameter] for parameter in unshared} == by_any - by_both
