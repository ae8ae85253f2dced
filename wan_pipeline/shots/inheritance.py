"""How the levels of settings inherit: every `_defaults.yaml` from `inbox/` down, the shot's file, its entry in `shots:`.

What belongs here: the rule that the nearer level wins, name by name and input role by input role, and that a null
un-sets what stands above it; and where each value that won stands, so that a mistake in it can be shown there. What does
not: which files there are (discovery.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wan_pipeline.providers.base import Role
from wan_pipeline.shots.spec import Level


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. `own`: in the shot's own yaml, not in a `_defaults.yaml`."""

    file: str
    prefix: str
    line: int
    own: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """What is in force. `places` are by name: `seed`, `inputs.first_frame`. No value is None, no role is empty."""

    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    roles: Mapping[Role, tuple[str, ...]] = field(default_factory=dict[Role, "tuple[str, ...]"])
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])

    def under(self, level: Level, *, own: bool) -> Merged:
        """What is in force below `level`."""
        values, roles, places = dict(self.values), dict(self.roles), dict(self.places)
        for name, value in level.given.items():
            if value is None:
                values.pop(name, None)
                places.pop(name, None)
            else:
                values[name] = value
                places[name] = Place(level.file, level.prefix, level.lines.get(name, 0), own)
        for role in list(roles) if level.unset_inputs else []:
            del roles[role], places[f"inputs.{role}"]
        for role, keys in level.roles.items():
            name = f"inputs.{role}"
            if keys:
                roles[role] = keys
                places[name] = Place(level.file, level.prefix, level.lines.get(name, 0), own)
            else:
                roles.pop(role, None)
                places.pop(name, None)
        return Merged(values, roles, places)

    def without_inherited(self, roles: frozenset[Role]) -> Merged:
        """The same less those of these roles that no own yaml gives."""
        kept = {r: keys for r, keys in self.roles.items() if r not in roles or self.places[f"inputs.{r}"].own}
        return self if len(kept) == len(self.roles) else Merged(self.values, kept, self.places)
