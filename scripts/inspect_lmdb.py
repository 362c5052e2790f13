"""Shows the records of a store; see `--help`."""

from img2pose.cli.inspect_lmdb import main

if __name__ == "__main__":
    raise SystemExit(main())
