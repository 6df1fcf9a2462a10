"""Settings that make networks of each shape, for tests of what is made of a checkpoint."""

BOTH = "train_mt_speaker_speech"
BRANCHED = ["network.use_multi_branch_encoder=true", "network.num_shared_transformers=1"]
SPLIT = ["network.num_speaker_dimensions=12"]
CLASS_TOKEN = ["network.stat_pooling_type=first+cls+learnable"]
WAYS = {
    "plain": [],
    "class token": CLASS_TOKEN,
    "split": SPLIT,
    "branched": BRANCHED,
    "all": [*BRANCHED, *SPLIT, *CLASS_TOKEN],
}
