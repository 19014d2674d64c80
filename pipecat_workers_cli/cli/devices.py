"""Lists this machine's sound devices."""

import json
from dataclasses import asdict

from rich.table import Table

from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import Output
from pipecat_workers_cli.transports.devices import Device, Direction, list_devices


def print_devices(terminal: Terminal, output: Output) -> None:
    """List this machine's sound devices.

    Raises:
        PmwError: PortAudio isn't installed.
    """
    devices = list_devices()
    if output is Output.JSON:
        print(json.dumps([asdict(device) for device in devices], ensure_ascii=False))
        return
    if not devices:
        terminal.say("this machine has no sound device")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "device", "hears", "speaks", "system"):
        table.add_column(column)
    for device in devices:
        table.add_row(
            str(device.number),
            device.name,
            _marked(device, Direction.INPUT),
            _marked(device, Direction.OUTPUT),
            device.api,
        )
    terminal.console().print(table)


def _marked(device: Device, direction: Direction) -> str:
    if not device.channels(direction):
        return ""
    return "default" if direction in device.default_for else "yes"
