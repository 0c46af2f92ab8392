"""`okitoki-edge`: the entry point of every container of the edge pod.

okitoki-edge host-setup        init container: the sysctls the edge needs on its node
okitoki-edge run NAME          wait for what NAME needs, render its configuration, become it (exec)
okitoki-edge drain             preStop of the guard: give every address away and wait until they are gone
okitoki-edge wait-drained      preStop of the others: stay until a drain that is under way is done
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from okitoki_agents.edge import drain, facts, hostsetup, network, processes, sweep


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed (the message says what), 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="okitoki-edge", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("host-setup", help="set the node's sysctls (privileged)")
    run = commands.add_parser("run", help="become one of the pod's processes")
    run.add_argument("name", choices=processes.NAMES)
    for name, text in (("drain", "give all addresses away"), ("wait-drained", "wait for a drain under way")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--timeout", type=float, default=20.0, help="seconds to wait at most")
    sweeper = commands.add_parser("sweep", help="remove what a deleted region may have left on this node (privileged)")
    sweeper.add_argument("--keep-sysctls", action="store_true", help="another region uses the node")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if options.command == "host-setup":
            hostsetup.apply()
        elif options.command == "run":
            processes.run(options.name, facts.load(os.environ))
        elif options.command == "sweep":
            sweep.sweep(facts.REGION_FILE, options.keep_sysctls)
        elif options.command == "drain":
            return drain.drain(facts.Paths(), options.timeout)
        else:
            return drain.wait_drained(facts.Paths(), options.timeout)
    except (facts.FactsError, hostsetup.HostSetupError, network.NetworkError) as error:
        print(f"okitoki-edge {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
