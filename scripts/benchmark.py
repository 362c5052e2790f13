"""Measures how fast a model is on this machine; see `--help`."""

from img2pose.cli.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
