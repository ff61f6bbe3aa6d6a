"""How each part's answers are called: a module a part, a function a question."""
