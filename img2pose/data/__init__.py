"""Data's way into training: annotations, pose labels, stores, transforms, data sets, importers."""
