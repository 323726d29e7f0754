"""Whole settings of one training run each, as files of flags: question, command, time and expected score on top."""
