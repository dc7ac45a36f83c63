"""The course as a book: ``python -m tutorials.book`` runs the lessons and makes a site of them."""
