"""Fine-tune wav2vec2 for speech and speaker recognition at once; `--help` shows how."""

from w2v2_mt.app.main import launch

if __name__ == "__main__":
    launch("train_mt_speaker_speech")
