"""What a model's faces are worth, stated by protocol."""
