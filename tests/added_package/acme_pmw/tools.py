"""A tool that a recipe names as `acme_pmw.tools:reverse_text`."""

from pipecat.services.llm_service import FunctionCallParams


async def reverse_text(params: FunctionCallParams, text: str) -> None:
    """Read a text from its end.

    Args:
        text: What is to be turned round.
    """
    await params.result_callback(text[::-1])
