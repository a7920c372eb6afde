"""The only package that talks to llama.cpp."""
