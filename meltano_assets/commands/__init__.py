"""The verbs of the command line, a file for each subject; ``cli.py`` puts them together."""
