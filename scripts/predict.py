"""Finds faces and their poses in pictures; see `--help`."""

from img2pose.cli.predict import main

if __name__ == "__main__":
    raise SystemExit(main())
