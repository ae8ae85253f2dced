"""The command line, through the real command in processes of its own."""
