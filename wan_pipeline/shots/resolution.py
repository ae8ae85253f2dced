"""From what is written to an order: the settings in force, the inputs by slot, and the model's word on both.

What belongs here: what does not depend on a shot's own name, so that ten thousand images below one `_defaults.yaml` are
settled once. What does not: keys, versions and times (discovery.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from wan_pipeline.bucket import BucketObject
from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.providers.base import CommonSettings, Model, Order, Role, Slot
from wan_pipeline.shots.inbox import Names
from wan_pipeline.shots.inheritance import Merged, Place
from wan_pipeline.shots.spec import Level

FindModel = Callable[[str], Model]

OWN_IMAGE = ""  # stands for the image beside the yaml, or the image without one, whatever its key
_COMMON = frozenset(CommonSettings.model_fields)
_MANY = frozenset({Role.IMAGES, Role.VIDEOS})


@dataclass(frozen=True, slots=True)
class Resolution:
    """Problems with `file` "" are in the shot's origin. `order` is there exactly where there are none."""

    model_id: str | None
    settings: CommonSettings
    inputs: Mapping[Slot, str]
    order: Order | None
    campaign: str | None
    not_before: datetime | None
    problems: tuple[Problem, ...]

    @property
    def uses_own_image(self) -> bool:
        return OWN_IMAGE in self.inputs.values()


class Resolver:
    """Settles shots of one listing. Remembers models and orders: most shots of a folder want the same one."""

    def __init__(
        self,
        objects: Mapping[str, BucketObject],
        default_model: str | None,
        find_model: FindModel,
        names: Names | None = None,
    ) -> None:
        self._objects = objects
        self._default_model = default_model
        self._find_model = find_model
        self.names = Names(objects) if names is None else names
        self._models: dict[str, Model | tuple[Problem, ...]] = {}
        self._orders: dict[object, Order | tuple[Problem, ...]] = {}

    def resolve(self, inherited: Merged, levels: Sequence[Level], images: Sequence[str]) -> Resolution:
        """A shot whose own levels are these (its file, its entry), with the images that lie beside it."""
        problems = [problem for level in levels for problem in level.problems]
        faulty = frozenset(_subject(problem.field) for problem in problems)
        merged = inherited
        for level in levels:
            merged = merged.under(level, own=True)
        model, model_id = self._model(merged, problems, faulty)
        if model is not None:
            merged = merged.without_inherited(frozenset(Role) - model.inputs.keys())
        roles = dict(merged.roles)
        image_role = _image_role(model)
        if images and image_role is not None and not _says_otherwise(levels, image_role, images):
            roles[image_role] = (OWN_IMAGE,)
        inputs = {Slot(role, number): key for role in Role for number, key in enumerate(roles.get(role, ()))}
        for slot, key in inputs.items():
            if key != OWN_IMAGE and key not in self._objects:
                inputs[slot] = self._existing(slot, key, merged, problems)
        settings = CommonSettings(**{name: value for name, value in merged.values.items() if name in _COMMON})
        order = None
        if model is not None:
            explicit = frozenset(name for name, at in merged.places.items() if at.own and name in _COMMON)
            made = self._order(model, settings, tuple(inputs), explicit)
            if isinstance(made, Order):
                order = made if not problems else None
            else:
                problems += [placed(item, merged) for item in made if not _follows(item, faulty)]
        return Resolution(
            model_id,
            settings,
            inputs,
            order,
            merged.values.get("campaign"),
            merged.values.get("not_before"),
            tuple(problems),
        )

    def _model(
        self, merged: Merged, problems: list[Problem], faulty: frozenset[str]
    ) -> tuple[Model | None, str | None]:
        model_id: str | None = merged.values.get("model")
        if "model" in faulty:
            return None, model_id
        by_default = model_id is None
        model_id = model_id or self._default_model
        if model_id is None:
            remedy = "Write model: provider/name in its yaml or a _defaults.yaml, or set WAN_DEFAULT_MODEL"
            problems.append(Problem("", "model", "", "the shot has no model", remedy))
            return None, None
        if model_id not in self._models:
            try:
                self._models[model_id] = self._find_model(model_id)
            except ProblemsError as error:
                self._models[model_id] = error.problems
        found = self._models[model_id]
        if not isinstance(found, tuple):
            return found, model_id
        for item in found:
            said = replace(item, message=f"{item.message} (it comes from WAN_DEFAULT_MODEL)") if by_default else item
            problems.append(placed(said, merged))
        return None, model_id

    def _existing(self, slot: Slot, key: str, merged: Merged, problems: list[Problem]) -> str:
        """The key in the listing that `key` means; `key` itself, with a problem, where nothing stands under it."""
        other = self.names.existing(key)
        if other is not None:
            return other
        place = merged.places[f"inputs.{slot.role}"]
        remedy = self.names.remedy(place.file, key)
        name = f"{place.prefix}inputs.{slot}"
        problems.append(Problem(place.file, name, key, _on_line(place, "there is no such file in the bucket"), remedy))
        return key

    def _order(
        self, model: Model, settings: CommonSettings, slots: tuple[Slot, ...], explicit: frozenset[str]
    ) -> Order | tuple[Problem, ...]:
        wanted = (model.id, settings, slots, explicit)
        if wanted not in self._orders:
            try:
                self._orders[wanted] = model.order(settings, slots, explicit)
            except ProblemsError as error:
                self._orders[wanted] = error.problems
        return self._orders[wanted]


def placed(problem: Problem, merged: Merged) -> Problem:
    """The problem with a setting or an input role, in the file and on the line where that stands; as it is if nowhere."""
    name = problem.field
    if name not in merged.places and name.partition("[")[0] in set(Role) | {"inputs"}:
        name = name if name == "inputs" else f"inputs.{name}"
    place = merged.places.get(name.partition("[")[0])
    if place is None:
        return replace(problem, field=name)
    return replace(problem, file=place.file, field=f"{place.prefix}{name}", message=_on_line(place, problem.message))


def _on_line(place: Place, message: str) -> str:
    return f"line {place.line}: {message}" if place.line else message


def _image_role(model: Model | None) -> Role | None:
    if model is None or Role.FIRST_FRAME in model.inputs:
        return Role.FIRST_FRAME
    return Role.IMAGES if Role.IMAGES in model.inputs else None


def _says_otherwise(levels: Sequence[Level], role: Role, images: Sequence[str]) -> bool:
    """Whether its own yaml fills (or un-sets) that role, or gives its image another."""
    return any(level.unset_inputs or role in level.roles or set(images) & set(level.named()) for level in levels)


def _subject(name: str) -> str:
    """The setting or the role that a problem's field speaks of: `shots.hero.inputs.images[1]` -> `images`."""
    parts = name.split(".")
    if parts[0] == "shots":
        parts = parts[2:]
    if parts[:1] == ["inputs"] and len(parts) > 1:
        parts = parts[1:]
    return parts[0].partition("[")[0] if parts else ""


def _follows(problem: Problem, faulty: frozenset[str]) -> bool:
    """Whether it only follows from a value that was left out because it is wrong itself."""
    name = problem.field.partition("[")[0]
    roles = set(Role) | {"inputs"}
    return name in faulty or (name in roles and bool(faulty & roles))
