"""Models, and the program with all that it needs, in one file that crosses an air gap."""
