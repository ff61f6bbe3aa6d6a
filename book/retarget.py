"""``make retarget REPO=owner/name``: put a repository's name into every link, badge and setup cell.

The present name is read from ``_config.yml``; it, and the placeholder of the first release, are
replaced wherever they stand. Running it twice changes nothing more.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# Joined here, so that this line is not replaced itself.
PLACEHOLDER = "/".join(("OWNER", "tips-and-tricks-for-deep-learning"))
NAME = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/[A-Za-z0-9._-]{1,100}")
SUFFIXES = {".cff", ".cfg", ".ipynb", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
FILES = {"Makefile", "LICENSE"}
SKIPPED = {"_build", "build", "dist", "vendor", "__pycache__", "node_modules"}


def check_name(name: str) -> str:
    """Give back a name of the form ``owner/name``.

    Raises:
        ValueError: It is no name that a repository can have.
    """
    if not NAME.fullmatch(name) or name.endswith((".git", "/.", "/..")):
        raise ValueError(
            f"{name!r} is not a repository's name; "
            "write it as owner/name, for example: make retarget REPO=ada/deep-learning-tips"
        )
    return name


def text_files(root: Path) -> Iterator[Path]:
    """All files that may name the repository, in a fixed order."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED and (name[0] != "." or name in (".github", ".ci"))
        )
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix in SUFFIXES or name in FILES or path.parent.name == ".ci":
                yield path


def present_name(root: Path) -> str:
    """The name that ``_config.yml`` has now."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].removeprefix("https://github.com/").rstrip("/")


def replace_name(text: str, old: str, new: str) -> str:
    """Replace ``old`` in a text, as ``owner/name`` and in the address of its GitHub Pages."""
    # Not inside of a longer name, but with ".git" or the end of a sentence behind it.
    end = r"(?![\w-])(?!\.(?!git\b)\w)"
    text = re.sub(rf"(?<![\w.-]){re.escape(old)}{end}", new, text)
    owner, name = old.split("/")
    new_owner, new_name = new.split("/")
    # "cd name" behind "git clone".
    text = re.sub(rf"^(\s*cd ){re.escape(name)}$", rf"\g<1>{new_name}", text, flags=re.MULTILINE)
    pages = rf"(?<![\w.-]){re.escape(owner)}\.github\.io/{re.escape(name)}{end}"
    return re.sub(pages, f"{new_owner.lower()}.github.io/{new_name}", text, flags=re.IGNORECASE)


def retarget(name: str, root: Path = ROOT) -> list[Path]:
    """Rewrite every file that names the repository, and return those that changed.

    Raises:
        ValueError: ``name`` is not of the form ``owner/name``.
    """
    check_name(name)
    old_names = {present_name(root), PLACEHOLDER} - {name}
    changed = []
    for path in text_files(root):
        # Bytes, so that the ends of lines stay as they are.
        before = path.read_bytes().decode("utf-8")
        after = before
        for old in sorted(old_names):
            after = replace_name(after, old, name)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed


def main(arguments: list[str]) -> int:
    """The command line: one argument, the new name."""
    try:
        changed = retarget(arguments[0] if len(arguments) == 1 else " ".join(arguments))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in changed:
        print(f"changed {path.relative_to(ROOT)}")
    print(f"{len(changed)} files changed: the repository is {arguments[0]}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
