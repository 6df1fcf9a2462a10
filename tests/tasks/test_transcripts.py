from w2v2_mt.tasks.transcripts import Transcript, random_sample, worst


def transcript(key, reference, hypothesis):
    return Transcript(key=key, reference=reference, hypothesis=hypothesis)


class TestWorst:
    def test_most_errors_come_first_then_the_shorter_reference(self):
        right = transcript("1", "A B", "A B")
        all_wrong = transcript("2", "A B", "C D")
        long = transcript("3", "A B C D E F", "A B C D")
        most = transcript("4", "A B C D E F", "A X Y Z")
        assert worst([right, long, all_wrong, most], 3) == [most, all_wrong, long]

    def test_all_where_there_are_fewer(self):
        one = transcript("1", "A", "B")
        assert worst([one], 5) == [one]
        assert worst([], 5) == []


class TestRandomSample:
    def test_keys_and_seed_decide_not_the_order(self):
        transcripts = [transcript(f"{number:03}", "A", "A") for number in range(100)]
        sample = random_sample(transcripts, 5, seed=0)
        assert random_sample(transcripts[::-1], 5, seed=0) == sample
        assert random_sample(transcripts, 5, seed=1) != sample
        assert [one.key for one in sample] == sorted({one.key for one in sample})
        assert len(sample) == 5

    def test_every_utterance_is_shown_by_some_seed(self):
        transcripts = [transcript(str(number), "A", "A") for number in range(4)]
        shown = {random_sample(transcripts, 1, seed=seed)[0].key for seed in range(50)}
        assert shown == {"0", "1", "2", "3"}

    def test_all_where_there_are_fewer(self):
        two = [transcript("b", "A", "A"), transcript("a", "A", "A")]
        assert random_sample(two, 5, seed=0) == two[::-1]
