"""Imports photographs with `.pts` landmarks; see `--help`."""

from img2pose.cli.import_pts import main

if __name__ == "__main__":
    raise SystemExit(main())
