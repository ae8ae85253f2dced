"""From the names that files give their shots to keys: each keeps the rule, and no two are the same.

What belongs here: encoding names that break the rule, and telling names that clash. What does not: which files make a shot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from wan_pipeline.problems import Problem
from wan_pipeline.shots.keys import distinct_key, encoded_key, key_fault
from wan_pipeline.shots.shot import Shot


def with_unique_keys(made: Iterable[Shot]) -> list[Shot]:
    """Each shot under a key that keeps the rule, and every clash of names as a problem of the one shot it becomes."""
    by_name: dict[str, list[Shot]] = {}
    for shot in made:
        by_name.setdefault(shot.key, []).append(shot)
    shots: dict[str, Shot] = {}
    faulty: list[tuple[Shot, str]] = []
    for name, same in by_name.items():
        shot = same[0] if len(same) == 1 else _clash(name, same)
        fault = key_fault(name)
        if fault is None:
            shots[name] = shot
        else:
            faulty.append((shot, fault))
    for shot, fault in faulty:
        key = encoded_key(shot.key)
        if key in shots:
            key = distinct_key(key, shot.key)
        remedy = "Rename it: from this name comes the shot's key, and the folder its videos get"
        problem = Problem(shot.origin, "", shot.key, fault, remedy)
        shots[key] = replace(shot, key=key, order=None, problems=(problem, *shot.problems))
    return sorted(shots.values(), key=lambda shot: shot.key)


def _clash(name: str, same: Sequence[Shot]) -> Shot:
    origins = sorted({shot.origin for shot in same})
    message = f"several files make the shot {name}: {', '.join(origins)}"
    problems = tuple(Problem(origin, "", name, message, "Rename all but one of them") for origin in origins)
    versions = json.dumps(sorted(shot.version for shot in same))
    return replace(
        same[0],
        order=None,
        version=hashlib.sha256(versions.encode()).hexdigest(),
        last_modified=max(shot.last_modified for shot in same),
        sources=tuple(sorted({key for shot in same for key in shot.sources})),
        problems=problems + tuple(problem for shot in same for problem in shot.problems),
    )
