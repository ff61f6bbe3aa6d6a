"""How each part's answers are judged: a module a part, with a table of questions."""
