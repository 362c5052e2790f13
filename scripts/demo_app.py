"""Serves a page that shows the faces of photographs dropped on it; see `--help`."""

from img2pose.cli.demo_app import main

if __name__ == "__main__":
    raise SystemExit(main())
