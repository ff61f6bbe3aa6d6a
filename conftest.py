"""pytest reads this first, wherever it is pointed: notebooks compare by the rules of one module."""

pytest_plugins = ["tests.notebook_rules"]
