"""Make shakespeare.npz: a million characters of Shakespeare's plays, one byte each.

The text is "tiny shakespeare", 40,000 lines that Andrej Karpathy put beside his char-rnn (2015) and
that small language models have been tried on since. Get `input.txt` from
https://github.com/karpathy/char-rnn/tree/master/data/tinyshakespeare and run, from the root of the
repository:

    python data/make_shakespeare.py input.txt
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make shakespeare.npz.")
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("shakespeare.npz"))
    options = parser.parse_args()
    text = options.text.read_bytes()
    if (found := hashlib.sha256(text).hexdigest()) != SHA256:
        raise SystemExit(f"{options.text} is another text: its SHA-256 is {found}.")
    np.savez_compressed(options.out, characters=np.frombuffer(text, np.uint8))
    size = options.out.stat().st_size / 1e6
    print(f"{options.out.name}: {size:.2f} MB, {len(text):,} characters")
