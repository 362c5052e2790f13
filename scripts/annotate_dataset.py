"""Labels photographs with a face detector; see `--help`."""

from img2pose.cli.annotate_dataset import main

if __name__ == "__main__":
    raise SystemExit(main())
