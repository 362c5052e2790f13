"""Finds and follows the faces of a video or camera; see `--help`."""

from img2pose.cli.run_video import main

if __name__ == "__main__":
    raise SystemExit(main())
