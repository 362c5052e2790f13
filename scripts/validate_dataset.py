"""Checks a list of annotations or a store; see `--help`."""

from img2pose.cli.validate_dataset import main

if __name__ == "__main__":
    raise SystemExit(main())
