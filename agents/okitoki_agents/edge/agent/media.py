"""How many calls a media engine of this node holds: its own (it relays them) and foreign ones (the peer does)."""

from dataclasses import dataclass

from okitoki_agents.edge import engine_port

ANSWER_SECONDS = 2.0


class MediaError(Exception):
    """The engine's command port gave no usable answer."""


@dataclass(frozen=True)
class Sessions:
    """Calls of one engine."""

    own: int
    foreign: int


async def sessions(port: int) -> Sessions:
    """Ask the engine whose command port this is. Raises MediaError."""
    try:
        foreign = list((await engine_port.calls(port, ANSWER_SECONDS)).values())
    except (OSError, TimeoutError) as error:
        raise MediaError(f"command port {port}: {type(error).__name__} {error}") from error
    return Sessions(own=foreign.count(False), foreign=foreign.count(True))


async def claim(port: int) -> None:
    """Let the engine write all its calls to its Redis again, from where its twin at the peer hears of them; on calls
    that are its own already `active` does nothing else. Raises MediaError."""
    try:
        async with engine_port.asked(port, "active", ANSWER_SECONDS) as reader:
            await reader.readline()
    except (OSError, TimeoutError) as error:
        raise MediaError(f"command port {port}: {type(error).__name__} {error}") from error
