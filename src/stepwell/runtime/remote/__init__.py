"""Calling step workers elsewhere: which one a run is for, how it is asked, and what its answer is worth."""
