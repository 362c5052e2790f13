"""Goes all the way from drawn faces to a judged model and its pictures; see `--help`."""

from img2pose.cli.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
