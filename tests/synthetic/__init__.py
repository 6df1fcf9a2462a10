from w2v2_mt.synthetic.corpus_plan import CorpusSizes

TINY = CorpusSizes(
    num_train_readers=2,
    num_utterances_per_train_chapter=3,
    num_test_readers=2,
    num_utterances_per_test_chapter=2,
    num_dev_speakers=4,
    num_utterances_per_dev_video=2,
    num_test_speakers=4,
    num_utterances_per_test_video=2,
    num_trials_each=10,
)
