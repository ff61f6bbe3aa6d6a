"""What only the build of the book needs; the helper library of the notebooks is ``tricks_lib``."""
