"""Writes a model as one ONNX file; see `--help`."""

from img2pose.cli.export_onnx import main

if __name__ == "__main__":
    raise SystemExit(main())
