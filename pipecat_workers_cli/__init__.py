"""Assemble, run, distribute and watch Pipecat workers from one command line."""
