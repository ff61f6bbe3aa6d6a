"""``make book``: build the HTML from the stored outputs, with every warning an error."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(source: Path = ROOT, output: Path | None = None) -> int:
    """Build the book in ``source`` and return the exit code, 0 for a clean build.

    Args:
        source: The folder of ``_config.yml`` and ``_toc.yml``.
        output: The folder that gets ``_build/html``; ``source`` itself when left out.
    """
    # Drawing needs no screen; a build starts clean, so that no page of an older one stays behind.
    os.environ["MPLBACKEND"] = "agg"
    target = (output or source) / "_build"
    for folder in (target / "html", target / ".doctrees"):
        shutil.rmtree(folder, ignore_errors=True)

    from jupyter_book.cli.main import main as jupyter_book

    arguments = ["build", str(source), "-W", "-n", "--keep-going"]
    if output:
        arguments += ["--path-output", str(output)]
    try:
        jupyter_book(arguments, standalone_mode=False)
    except SystemExit as stop:
        return int(stop.code or 0)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Build, then say where the book lies."""
    code = build()
    if code:
        print("The book was not built: mend what the lines above name.", file=sys.stderr)
    else:
        page = ROOT / "_build" / "html" / "index.html"
        print(f"\nThe book is ready. Open this file in a browser:\n  {page}")
    return code


if __name__ == "__main__":
    sys.exit(main())
