"""How one text becomes passages: chunks, and the headings above each."""
