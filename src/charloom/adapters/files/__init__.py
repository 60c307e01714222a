"""Files: the corpus, the artifacts of the stages, models, checkpoints and the work folder."""
