"""The words around a claim must not say more than its measurement: two lints of the prose.

*Equality.* Who writes "equally good", "costs nothing" or "no difference" near a claim says that its
effect is too small to matter. Only a measurement with that verdict says so; an undecided one does
not. A block of prose (a paragraph, a list item, a row of a table) that names claims in inline code
may use such a word only if one of the claims it names has been found *too small to matter*.

*Polarity.* The sentence of a placebo or a control must say that there *is* an effect, so that *too
small to matter* is what it should come out as.

This module knows texts and notebooks, not Sphinx, so that the tests use it as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from book.records import Problem, stored_records
from tricks_lib import law

CLAIM = re.compile(r"`([a-z0-9_]+\.[a-z0-9_]+)`")

# Words that say of two things that they do not differ.
EQUALITY = re.compile(
    r"\b(?:equal(?:s|ly)?|the same|nothing|free|identical(?:ly)?|indistinguishable|"
    r"no (?:difference|effect|worse|better|gain|harm)|as (?:good|low|high|accurate)|"
    r"(?:do|does|did)(?: not|n['\N{RIGHT SINGLE QUOTATION MARK}]t) "
    r"(?:differ|matter|hurt|change))\b",
    re.IGNORECASE,
)
# What the first edition said of whatever it could not tell; no sentence may say it any more.
RETIRED = re.compile(r"\bno detectable \w+|\bundetectabl[ey]\b", re.IGNORECASE)

# What an experiment holds fixed. "The same seeds" tells how it was done, not what came out.
FIXED = (
    r"(?:seed|start|weight|data|image|picture|example|row|label|split|set|batch|order|budget|step|"
    r"epoch|rate|grid|number|amount|time|network|model|layer|function|code|loop|cell|recipe|task|"
    r"optimizer|schedule|size|width|depth|strength|dropout|page|study|experiment|measurement|"
    r"sentence|claim|question|verdict|metric|unit|scale|kind|way|reason|place|moment|thing|one)"
)
#: Harmless uses, each with the reason why it says nothing about an effect.
HARMLESS: tuple[tuple[str, str], ...] = (
    (rf"the same (?:[\w-]+ ){{0,3}}?{FIXED}(?:e?s)?\b", "what is held fixed, not what came out"),
    (rf"equal(?:ly)? (?:[\w-]+ ){{0,2}}?{FIXED}(?:e?s)?\b", "what is held fixed"),
    (r"equally (?:tuned|many|long|often|likely|spaced|large|small)\b", "what is held fixed"),
    (r"\b[\w-]+-free\b|\bfree-[\w-]+|\bfree (?:of|from|to)\b", "free of something, or free to act"),
    (r"\bnothing (?:else|but|more than)\b", "it excludes other causes"),
    (
        r"\b(?:not|never|hardly|no longer) (?:\w+ )?(?:the same|equal|free|nothing|as good)\b",
        "a no",
    ),
    (
        r"\b(?:called|said|says?|wrote|writes?|reads?) (?:\w+ )?\W*no (?:detectable )?effect\b",
        "it quotes",
    ),
)
_HARMLESS = re.compile("|".join(pattern for pattern, _ in HARMLESS), re.IGNORECASE)

# Words that would make a check's sentence say that there is no effect.
DENIAL = re.compile(
    r"\b(?:no|not|nothing|never|none|neither|nor|cannot|nowhere|hardly|unchanged|alike|"
    r"(?:does|do|is|are|will|would|can|could)n['\N{RIGHT SINGLE QUOTATION MARK}]t|"
    r"as (?:good|well|fast|accurate)|agrees?|keeps?|same|equal(?:s|ly)?|free|"
    r"without (?:any |an )?(?:effect|difference|influence|change)|too small)\b",
    re.IGNORECASE,
)


def blocks(text: str) -> Iterator[str]:
    """The paragraphs, list items and rows of tables of a Markdown text, without fenced code."""
    text = re.sub(r"^ *(`{3,}|~{3,})[^\n]*\n.*?^ *\1[`~]*[ ]*$", "", text, flags=re.M | re.S)
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        begins = re.match(r"\s*(?:[-*+]\s|\d+\.\s|\||>|#|:\s)", line)
        if lines and (begins or not line.strip()):
            yield " ".join(lines)
            lines = []
        if line.strip():
            lines.append(line.strip())


def plain(block: str) -> str:
    """The words of a block: no code, formulas, addresses or stars."""
    for pattern in (r"\$\$.*?\$\$|\$[^$\n]+\$", r"\{[\w:]+\}`[^`]*`|`+[^`]*`+", r"\]\([^)]*\)"):
        block = re.sub(pattern, " ", block)
    return re.sub(r"\s+", " ", re.sub(r"https?://\S+|[*]", "", block))


def too_much(block: str, verdicts: Mapping[str, Collection[str]]) -> list[str]:
    """What a block of prose says that no verdict backs, in sentences; empty when all is well.

    Args:
        block: one paragraph, list item or row of a table, in Markdown.
        verdicts: the verdicts of each claim's measurements, by the claim's id.
    """
    harmless = _HARMLESS.sub(" ", plain(block))
    wrong = [
        f"the text says {word!r}; say 'too small to matter' or 'undecided', which are two things"
        for word in _words(RETIRED, harmless)
    ]
    named = [name for name in dict.fromkeys(CLAIM.findall(block)) if name in verdicts]
    if not named:
        return wrong
    near = ", ".join(f"`{name}`" for name in named)
    came_out = set().union(*(verdicts[name] for name in named))
    wrong += [
        f"the text says {verdict!r} near {near}, and no measurement of "
        f"{'it' if len(named) == 1 else 'them'} came out so"
        for verdict in (law.UNDECIDED, law.TOO_SMALL)
        if verdict in harmless.lower() and verdict not in came_out
    ]
    if law.TOO_SMALL in came_out:
        return wrong
    return wrong + [
        f"the text says {word!r} near {near}, which nothing there has shown: no measurement of "
        f"{'it' if len(named) == 1 else 'them'} came out 'too small to matter'"
        for word in _words(EQUALITY, harmless)
    ]


def polarity(record: Mapping[str, Any]) -> list[str]:
    """What makes the sentence of a placebo or a control deny the effect that it should claim."""
    if record["kind"] == "claim":
        return []
    sentence = _HARMLESS.sub(" ", plain(record["sentence"]))
    return [
        f"its sentence says {word!r}; a {record['kind']} must say that there is an effect, so that "
        "'too small to matter' is what it should come out as"
        for word in _words(DENIAL, sentence)
    ]


def _words(pattern: re.Pattern[str], text: str) -> list[str]:
    """What the pattern finds, in small letters, each once."""
    return list(dict.fromkeys(word.lower() for word in pattern.findall(text)))


def verdicts_in(notebooks: Mapping[str, Path]) -> dict[str, set[str]]:
    """The verdicts of each claim that is stored in the notebooks, by its id."""
    found: dict[str, set[str]] = {}
    for path in notebooks.values():
        for record in stored_records(_read(path)):
            if isinstance(record, dict) and "id" in record:
                found.setdefault(record["id"], set()).add(record.get("verdict", ""))
    return found


def problems(
    pages: Mapping[str, Path], verdicts: Mapping[str, Collection[str]]
) -> Iterator[Problem]:
    """Read pages, ``.md`` and ``.ipynb``, and yield what their words say too much."""
    for docname, path in pages.items():
        if path.suffix == ".ipynb":
            notebook = _read(path)
            cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
            texts = ["".join(cell["source"]) for cell in cells]
            for record in stored_records(notebook):
                if isinstance(record, dict) and {"id", "kind", "sentence"} <= set(record):
                    for text in polarity(record):
                        yield Problem(docname, f"{record['kind']} {record['id']}: {text}")
        else:
            texts = [path.read_text(encoding="utf-8")]
        for text in texts:
            for block in blocks(text):
                for message in too_much(block, verdicts):
                    yield Problem(docname, f"{message}. It begins: {plain(block)[:60].strip()} …")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
