"""Multi-task fine-tuning of wav2vec2 for speech recognition and speaker recognition."""
