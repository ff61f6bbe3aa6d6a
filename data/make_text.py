"""Make text.npz: short passages of Python's own manual, each with the chapter that it is from.

The prose is that of the language reference and the library reference, which every Python carries
in `pydoc_data.topics`. It differs a little between versions of Python: so the passages are
shipped, and not only this script. Run it from the root of the repository:

    python data/make_text.py
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

# The chapters, and the topics that make them up. Some topics contain others; what stands in two
# places is kept in the first.
CHAPTERS = {
    "special methods": ("specialnames",),
    "statements": (
        *("compound", "assignment", "import", "raise", "augassign", "assert", "return", "del"),
        *("nonlocal", "global", "break", "continue", "pass"),
    ),
    "types": ("types", "objects", "typesmethods", "specialattrs"),
    "strings": ("formatstrings", "string-methods", "strings"),
    "expressions": (
        *("comparisons", "execmodel", "operator-summary", "calls", "subscriptions", "booleans"),
        *("binary", "unary", "bitwise", "shifting", "power", "conversions", "identifiers"),
        *("attribute-references", "atom-identifiers", "exprlists", "lambda", "await"),
    ),
}
WORDS = 32  # in a passage: about 200 characters
PASSAGES = 190  # of each chapter


def paragraphs(topic: str) -> list[str]:
    """Cut one topic into paragraphs of prose: no headings, no code, no grammar."""
    found = []
    for block in re.split(r"\n\s*\n", topic):
        code = re.search(r"^\s*>>>|::=|^\s*\.\.\. ", block, re.MULTILINE)
        heading = re.search(r"^\s*([*=\-~])\1{2,}\s*$", block, re.MULTILINE)
        text = " ".join(block.split())
        if not code and not heading and len(words(text)) >= 4:
            found.append(text)
    return found


def words(text: str) -> list[str]:
    """The words of a text, as the library counts them: lower case, letters and underscores."""
    return re.findall(r"[a-z_]+", text.lower())


def passages(text: str) -> list[str]:
    """Cut a text into passages of WORDS words; what is left over at the end is dropped."""
    ends = [match.end() for match in re.finditer(r"[a-z_]+", text.lower())][WORDS - 1 :: WORDS]
    return [text[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]


def make() -> tuple[list[str], np.ndarray]:
    """Make the passages and their chapters (N,): equally many of each, then all others as 255."""
    seen: set[str] = set()

    def cut(names: Iterable[str]) -> list[str]:
        fresh = [text for name in names for text in paragraphs(topics[name])]
        fresh = [text for text in dict.fromkeys(fresh) if text not in seen]
        seen.update(fresh)
        return passages(" ".join(fresh))

    texts, labels, others = [], [], []
    for label, names in enumerate(CHAPTERS.values()):
        found = cut(names)
        if len(found) < PASSAGES:
            raise ValueError(f"chapter {label} has only {len(found)} passages")
        # Spread evenly over the chapter.
        rows = set(np.linspace(0, len(found) - 1, PASSAGES).round().astype(int).tolist())
        texts += [text for row, text in enumerate(found) if row in rows]
        others += [text for row, text in enumerate(found) if row not in rows]
        labels += [label] * PASSAGES
    others += cut(sorted(topics))
    return texts + others, np.array(labels + [255] * len(others), np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make text.npz.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("text.npz"))
    out = parser.parse_args().out
    texts, labels = make()
    lines = np.frombuffer("\n".join(texts).encode(), np.uint8)
    np.savez_compressed(out, lines=lines, labels=labels, chapters=np.array(list(CHAPTERS)))
    print(f"{out.name}: {out.stat().st_size / 1e6:.2f} MB, {len(texts)} passages")
