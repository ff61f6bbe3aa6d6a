"""Coursework: exercises that are handed out, checked while they are written, and graded.

``rubric`` says what a question is; ``judges`` hold each part's inputs, points and judgements;
``probes`` call a student's function; ``runner`` does that in a sandbox; ``grade`` grades a folder
of submissions; ``release`` makes the student's notebook from the one with the solutions.
"""
