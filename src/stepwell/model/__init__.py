"""What is: the nouns of Stepwell as frozen values. Nothing here waits, reads a clock or draws a number."""
