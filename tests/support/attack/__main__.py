"""``make attack``: a hostile stranger, member and relay against three daemons that are at work.

    python -m tests.support.attack [--minutes N] [--seed SEED] [--records N]

Ends with a table of what was tried and what it got, and one line; and with 1 where a law did not
hold, an attempt got what it must not or never ran, or, in a minute and more, memory grew or honest
work was slow. Then every home and log is kept and named.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.support.attack.run import Attack


def main():
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--records", type=int, default=2_000, help="on the board beforehand")
    asked = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it tells of each write to a dead link
    folder = Path(tempfile.mkdtemp(prefix="gangline-attack-"))
    print(f"seed {asked.seed}, {asked.minutes:g} minutes, in {folder}", flush=True)
    attack = Attack(
        folder, asked.seed, 60 * asked.minutes, lambda line: print(line, flush=True), asked.records
    )
    try:
        asyncio.run(attack.run())
    except AssertionError as broken:
        print(f"attack, seed {asked.seed}: {broken}; everything is in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
