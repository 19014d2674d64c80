"""Tools of the recipe `assistant`: plain functions, named there as `acme_tools:find_order`."""

from pipecat.services.llm_service import FunctionCallParams

ORDERS = {
    17: {"product": "Rocket Boots", "state": "on its way", "arrives": "tomorrow"},
    23: {"product": "a Tornado Kit", "state": "being packed", "arrives": "on Friday"},
    42: {"product": "two cans of Invisible Paint", "state": "delivered", "arrives": "last week"},
}


async def find_order(params: FunctionCallParams, number: int) -> None:
    """Look up what became of an order.

    Args:
        params: What Pipecat hands to every tool.
        number: The order's number, such as 42.
    """
    order = ORDERS.get(number)
    if order is None:
        await params.result_callback({"error": f"there is no order number {number}"})
    else:
        await params.result_callback({"number": number, **order})
