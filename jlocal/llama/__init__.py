"""The only package that calls llama.cpp. It knows no files of documents and no terminal."""
