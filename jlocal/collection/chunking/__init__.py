"""Split a text into passages: chunks, and the headings above each."""
