"""Networks that are trained once, by the project, and shipped with it."""
