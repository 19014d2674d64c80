"""The commands: parse, call, print. Rich and Typer live here and nowhere else."""
