"""Stores a checkpoint in fewer bytes; see `--help`."""

from img2pose.cli.compress_checkpoint import main

if __name__ == "__main__":
    raise SystemExit(main())
