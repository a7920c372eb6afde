"""The commands of `jlocal`: one module each, imported when the command is used."""
