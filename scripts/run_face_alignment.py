"""Cuts the faces out of pictures, aligned; see `--help`."""

from img2pose.cli.run_face_alignment import main

if __name__ == "__main__":
    raise SystemExit(main())
