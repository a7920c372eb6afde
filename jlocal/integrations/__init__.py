"""jlocal in other libraries, a module for each of them; nothing below imports these modules."""
