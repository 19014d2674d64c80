"""The far end of stock Pipecat's proxies: its client names no worker, and is told of the one."""

import uuid

from websockets.asyncio.server import ServerConnection

from pipecat_workers_cli.buses.door import Door
from pipecat_workers_cli.buses.link import CALLERS_END, Link
from pipecat_workers_cli.buses.stock_link import StockWorkersDoor, StockWorkersLink
from pipecat_workers_cli.fleet.gateway import Gateway
from pipecat_workers_cli.wire.notice import Offer


class StockGateway(Gateway):
    """Serves one worker to stock `WebSocketProxyClient`s, for as long as the process lasts.

    Whose main worker is called otherwise than the recipe's is not heard: stock says a name
    with each message, and none at the beginning.
    """

    subprotocols = None

    async def _greeted(self, connection: ServerConnection) -> Offer:
        recipe = self._plan.loaded.recipe
        return Offer(
            call=uuid.uuid4().hex[:8],
            worker=self.worker,
            main=recipe.main.name,
            address=CALLERS_END,
            number=1,
            hash=self._plan.loaded.hash,
            speech=True,
        )

    def _link(self, connection: ServerConnection, offer: Offer) -> Link:
        return StockWorkersLink(connection, offer)

    def _door(self, offer: Offer) -> Door:
        return StockWorkersDoor(self.worker, main=offer.main)
