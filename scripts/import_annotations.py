"""Imports other data sets' labels; see `--help`."""

from img2pose.cli.import_annotations import main

if __name__ == "__main__":
    raise SystemExit(main())
