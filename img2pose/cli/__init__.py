"""Command lines, one module a command; scripts and entry points call their `main(argv)`."""
