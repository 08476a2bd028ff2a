"""Roman numerals for picochat: tasks.py says what is taught (no torch), data.py and roman.yaml how it is trained."""
