"""Runs a program for as long as the process that started this one lives, however that ends.

A program whose parent is killed would live on: an orphaned SuperNode holds its site's place at the
server, which then refuses the site. Run by path, as it imports nothing: COMMAND [ARGUMENTS]. Its
standard input is a pipe that ends with its parent.
"""

import subprocess
import sys
import threading

_STOPPING = 8.0  # seconds; less than its parent gives


def main() -> int:
    """Run the command; returns its exit status."""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
    return process.wait()


def _end_with_parent(process: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    process.terminate()
    try:
        process.wait(_STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main())
