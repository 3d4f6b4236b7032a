"""Foreign shapes to our model and back."""
