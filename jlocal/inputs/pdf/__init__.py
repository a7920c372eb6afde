"""PDF files: a child process reads them with PDFium and reports the parts it cannot read."""
