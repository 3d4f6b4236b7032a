"""A real workflow on real files, killed half way, and the proof that nothing was done twice."""
