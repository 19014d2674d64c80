"""What conversations in words have in common, the caller's and those among workers."""

from typing import Any

from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies


def text_turns() -> LLMUserAggregatorParams:
    """Return how turns are told apart in words: each text is one.

    The default would load a model that judges by sound whether somebody has finished.
    """
    return LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())


def trim(context: LLMContext, most: int) -> None:
    """Cut a conversation that has grown past `most` messages down to its latest half.

    It is cut where somebody asks: a tool's result without its call would be refused by LLM
    providers. Half at once, so that what a provider has cached stays good for a while.

    Args:
        context: What is cut, between two turns.
        most: Messages that may stay.
    """
    messages: list[Any] = context.get_messages()
    if len(messages) <= most:
        return
    for place in range(len(messages) - most // 2, len(messages)):
        message = messages[place]
        if isinstance(message, dict) and message.get("role") == "user":
            context.set_messages(messages[place:])
            return
