"""Unit Gaussian: the shared helpers of the course."""
