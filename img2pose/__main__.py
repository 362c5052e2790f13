"""`python -m img2pose` is the command `img2pose`."""

from img2pose.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
