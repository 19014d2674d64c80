"""What a shell offers as the value of an option or an argument.

The names stand here once more, and a test holds them to their tables: a Tab must not wait
for the imports of those.
"""

LLMS = ("anthropic", "ollama", "openai", "scripted")
STTS = ("deepgram", "moonshine")
TTSS = ("cartesia", "piper")
TRANSPORTS = (
    "console",
    "daily",
    "exotel",
    "livekit",
    "moq",
    "plivo",
    "telnyx",
    "twilio",
    "vonage",
    "webrtc",
    "websocket",
)


def complete_recipe(incomplete: str) -> list[tuple[str, str]]:
    """Offer the recipes that ship, each with its summary; files are offered by the shell."""
    from pipecat_workers_cli.recipe.files import read_summary, shipped_path, shipped_recipes

    names = [name for name in shipped_recipes() if name.startswith(incomplete)]
    return [(name, read_summary(shipped_path(name))) for name in names]


def complete_session(incomplete: str) -> list[str]:
    """Offer this user's sessions."""
    from pipecat_workers_cli.errors import PmwError
    from pipecat_workers_cli.session.address import living

    try:
        return [one.name for one in living() if one.name.startswith(incomplete)]
    except (PmwError, OSError):
        return []
