# Written by pmw: pmw completions fish --install writes it anew.
complete --command pmw --no-files --arguments "(env _PMW_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS=(commandline -cp) pmw)" --condition "env _PMW_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args _TYPER_COMPLETE_ARGS=(commandline -cp) pmw"
