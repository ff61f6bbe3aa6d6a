"""The self-checks of the exercises, a module a page."""
