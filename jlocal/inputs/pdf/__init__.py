"""PDF files: a child process reads them by PDFium and says which parts it could not read."""
