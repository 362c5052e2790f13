"""Faces in videos: reading, tracking, smoothing, records and the annotated copy."""
