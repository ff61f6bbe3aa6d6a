"""Known wrong answers to the exercises, and right ones that are written otherwise.

A module a part. ``WRONG[question][what]`` is (answer, points that it still earns, words of the
sentence that it hears); ``ALSO_RIGHT[question]`` lists answers that must be full.
"""
