"""A worker that does not listen when it is told to end: only what cannot be refused ends it."""

import signal
import sys
import time


def main():
    """Take a job, and do nothing for ever."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.readline()
    time.sleep(600)


if __name__ == "__main__":
    main()
