"""Bodies that live elsewhere: what an invocation of one is given and what it gives, and the program that follows."""
