"""One import direction, as the tree promises: geometry, then models and data, and so on."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE = {
    "errors",
    "files",
    "types",
    "references",
    "config",
    "devices",
    "distributed",
    "images",
    "interrupts",
    "tensors",
    "versions",
}
# What each room of img2pose may import besides itself and the base.
MAY_IMPORT: dict[str, set[str]] = {
    "geometry": set(),
    "detections": {"geometry"},
    "models": {"geometry"},
    "data": {"geometry"},
    "training": {
        "geometry",
        "detections",
        "models",
        "data",
        "evaluation",
        "inference",
        "visualization",
    },
    "evaluation": {"geometry", "detections", "models", "data", "inference", "visualization"},
    "inference": {"geometry", "detections", "models", "data"},
    "annotators": {"geometry", "detections", "data", "inference"},
    "visualization": {"geometry", "detections"},
    "notebooks": {"detections", "evaluation", "visualization"},
    "__main__": {"cli"},
    "cli": {
        "geometry",
        "detections",
        "models",
        "data",
        "training",
        "evaluation",
        "inference",
        "annotators",
        "visualization",
    },
}
# The commands import it to measure how fast it draws, data to make synthetic photographs; pictures
# to look at are drawn by visualization.
THIRD_PARTY_ONLY_IN = {"sim3dr": {"visualization", "cli", "data"}}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "img2pose")
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def test_rooms_import_only_what_lies_below_them() -> None:
    rooms = set()
    for path in sorted((ROOT / "img2pose").rglob("*.py")):
        room = room_of(path)
        if room == "__init__":
            continue
        rooms.add(room)
        allowed = BASE if room in BASE else BASE | MAY_IMPORT[room] | {room}
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "img2pose" and len(parts) > 1:
                assert parts[1] in allowed, f"{path} imports {name}"
            elif parts[0] in THIRD_PARTY_ONLY_IN:
                assert room in THIRD_PARTY_ONLY_IN[parts[0]], f"{path} imports {name}"
    assert set(MAY_IMPORT) <= rooms


def test_the_package_itself_imports_only_the_base() -> None:
    """All that is imported from it waits for what it imports; models take longest."""
    tree = ast.parse((ROOT / "img2pose" / "__init__.py").read_text(encoding="utf-8"))
    modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert modules
    own = {name for name in modules if name is not None and name.startswith("img2pose")}
    assert own <= {f"img2pose.{room}" for room in BASE}


def test_sim3dr_knows_nothing_of_img2pose() -> None:
    for path in (ROOT / "sim3dr").rglob("*.py"):
        assert not any(name.split(".")[0] == "img2pose" for name in imports_of(path)), path


def test_scripts_hold_no_logic_of_the_package() -> None:
    own = {"build_pose_references.py", "check_large_files.py"}
    for path in [ROOT / "train.py", ROOT / "evaluate_wider.py", *(ROOT / "scripts").glob("*.py")]:
        if path.name in own:
            continue
        names = imports_of(path)
        assert len(names) == 1, path
        assert next(iter(names)).startswith("img2pose.cli."), path
