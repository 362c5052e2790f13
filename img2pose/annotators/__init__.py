"""Face detectors that label photographs: boxes, scores and landmarks for annotation files."""
