#!/usr/bin/env python3
"""A dict and a list that are still there when another process opens their directories."""

import subprocess
import sys
import tempfile
from pathlib import Path

from pyrsistence import EMDict, EMList


def write(directory: Path) -> None:
    with EMDict(directory / "ages") as ages, EMList(directory / "log") as log:
        ages["Ada"] = 36
        ages["Grace"] = 85
        ages.update({"Edsger": 72, ("a", "tuple"): [1, 2, 3]})
        log.extend(["started", "measured"])
        log.append({"answer": 42})
        # A read is a copy: edit() is how a stored value is changed in place.
        with ages.edit(("a", "tuple")) as numbers:
            numbers.append(4)


def read(directory: Path) -> None:
    with EMDict(directory / "ages", mode="r") as ages, EMList(directory / "log", mode="r") as log:
        print("Ada is", ages["Ada"])
        print("everything:", dict(ages.items()))
        print("last log entry:", log[-1], "of", len(log))


def main() -> None:
    if len(sys.argv) == 2:
        read(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory))
        subprocess.run([sys.executable, __file__, directory], check=True)


if __name__ == "__main__":
    main()
