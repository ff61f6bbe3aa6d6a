"""pytest reads this first, wherever it is pointed: how notebooks compare and how they run alone."""

pytest_plugins = ["tests.notebook_rules", "tests.alone"]
