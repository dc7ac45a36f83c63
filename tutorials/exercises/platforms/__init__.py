"""What teachers' platforms read, each from the results that ``python -m tutorials.exercises.grade`` keeps."""
