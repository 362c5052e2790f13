"""Draws synthetic photographs of faces with exactly known poses; see `--help`."""

from img2pose.cli.make_synthetic_dataset import main

if __name__ == "__main__":
    raise SystemExit(main())
