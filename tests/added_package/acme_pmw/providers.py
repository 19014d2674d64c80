"""The row of the provider `parrot`. Light: it is read each time somebody names it."""

from pipecat_workers_cli.services.providers import Provider, Role

PARROT = Provider(
    Role.LLM,
    "parrot",
    module="acme_pmw.parrot",
    factory="build_parrot",
    default="calm",
    models=("calm", "loud"),
    key="PARROT_API_KEY",
    local=True,
)
