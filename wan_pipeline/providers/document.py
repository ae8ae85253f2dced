"""A provider's document as a value: `DocumentModel` turns the house's settings and inputs into the documented request.

What belongs here: what all models share: the mapping of settings and roles onto the document's names, the defaults, the
check of inputs, and the translation of pydantic's errors into problems that name the house's setting and a remedy. What
does not: any single model's fields, limits, prices and peculiarities; they stand in its own file, as data and small
functions handed in here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.providers import house
from wan_pipeline.providers.base import (
    CommonSettings,
    InputRule,
    JsonObject,
    MediaInput,
    Order,
    Quote,
    Role,
    Slot,
)
from wan_pipeline.providers.pricing import PerSecond

MANY = frozenset({Role.IMAGES, Role.VIDEOS})


class Arguments(BaseModel):
    """Base of every document's arguments: unknown fields are refused, and nothing is converted ("5" is no integer).

    A cost-bearing field has no default here, so that none can be left to the provider.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_sent(cls, value: Any) -> Any:
        """A yaml can write half a surrogate pair ("\\ud83d"), which no UTF-8 body can hold."""
        if isinstance(value, str) and value != _printable(value):
            raise PydanticCustomError("no_unicode", "holds half a character, which cannot be sent")
        return value


@dataclass(frozen=True, slots=True)
class Documented:
    """Notes beside a field what its document says the provider does when the field is left out."""

    default: Any


@dataclass(frozen=True, slots=True)
class InputField:
    """The document's name of the field that an input role fills, and the rule for the role."""

    name: str
    rule: InputRule


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a shot asks of a model: `given` as written, `chosen` with the defaults filled in (the house's words)."""

    model_id: str
    given: CommonSettings
    chosen: Mapping[str, Any]
    counts: Mapping[Role, int]

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(self.counts)


Check = Callable[[Wanted], Iterable[Problem]]
Advice = Callable[[Wanted], Iterable[str]]


def _sound_as_chosen(wanted: Wanted) -> bool | None:
    return bool(wanted.chosen["audio"])


def _arguments_alone(arguments: JsonObject) -> JsonObject:
    return arguments


@dataclass(frozen=True)
class DocumentModel:
    """One thing that can be bought, described by its document. Implements `base.Model`.

    `fields` maps the house's settings to the document's names, `words` their values where the document spells them
    differently; `envelope` puts the arguments into the request body; `sound` says whether the video will have sound.
    """

    id: str
    upstream_id: str
    arguments: type[Arguments]
    fields: Mapping[str, str]
    input_fields: Mapping[Role, InputField]
    price: PerSecond
    words: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict[str, Mapping[Any, Any]])
    envelope: Callable[[JsonObject], JsonObject] = _arguments_alone
    sound: Callable[[Wanted], bool | None] = _sound_as_chosen
    checks: tuple[Check, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def provider(self) -> str:
        return self.id.partition("/")[0]

    @property
    def settings(self) -> frozenset[str]:
        return frozenset(self.fields)

    @property
    def inputs(self) -> Mapping[Role, InputRule]:
        return {role: item.rule for role, item in self.input_fields.items()}

    @property
    def accepts_data_uri(self) -> bool:
        return any(item.rule.accepts_data_uri for item in self.input_fields.values())

    def order(self, settings: CommonSettings, slots: Sequence[Slot], explicit: frozenset[str]) -> Order:
        """See `base.Model.order`."""
        slots = tuple(sorted(slots))
        wanted = Wanted(self.id, settings, self._choose(settings, slots), Counter(slot.role for slot in slots))
        problems = [*self._lacking(settings, explicit), *self._slot_problems(wanted, slots)]
        raw = {self.fields[name]: self._word(name, value) for name, value in wanted.chosen.items()}
        raw |= self._filled({slot: str(slot) for slot in slots})
        arguments: Arguments | None = None
        try:
            arguments = self.arguments.model_validate(raw)
        except ValidationError as error:
            problems += self._explained(error)
        for check in self.checks:
            problems += check(wanted)
        if problems or arguments is None:
            raise ProblemsError(problems)
        return Order(
            model_id=self.id,
            arguments=arguments,
            slots=slots,
            duration_s=wanted.chosen["duration"],
            resolution=wanted.chosen["resolution"],
            has_audio=self.sound(wanted),
            warnings=(*(text for advise in self.advice for text in advise(wanted)), *self.price.warnings),
        )

    def quote(self, order: Order, inputs: Sequence[MediaInput]) -> Quote:
        """See `base.Model.quote`. Inputs that were not probed yet may be left out: they count with their worst case."""
        return self.price.quote(order, inputs)

    def body(self, order: Order, references: Mapping[Slot, str]) -> JsonObject:
        """See `base.Model.body`. Raises KeyError where an input has no reference."""
        dumped = order.arguments.model_dump(exclude_none=True)
        dumped |= self._filled({slot: references[slot] for slot in order.slots})
        return self.envelope(dumped)

    # --- settings ---

    def _choose(self, settings: CommonSettings, slots: Sequence[Slot]) -> dict[str, Any]:
        """Every setting that is to be sent: as set, else the house's default, else the document's."""
        chosen: dict[str, Any] = {}
        for name in self.fields:
            value = getattr(settings, name)
            if isinstance(value, str) and not value.strip():
                value = None  # a blank text says nothing; where one is required, that is told as "missing"
            if value is None:
                value = self._default(name, slots)
            if value is not None:
                chosen[name] = value
        return chosen

    def _default(self, name: str, slots: Sequence[Slot]) -> Any:
        if name == "audio":
            return any(slot.role is Role.AUDIO for slot in slots)
        if name in house.DEFAULTS:
            return house.DEFAULTS[name]
        notes = self.arguments.model_fields[self.fields[name]].metadata
        return next((note.default for note in notes if isinstance(note, Documented)), None)

    def _word(self, name: str, value: Any) -> Any:
        return self.words[name].get(value, value) if name in self.words else value

    def _lacking(self, settings: CommonSettings, explicit: frozenset[str]) -> Iterable[Problem]:
        for name in sorted(explicit - self.settings):
            value = getattr(settings, name, None)
            if value is not None:
                yield Problem(
                    "",
                    name,
                    _shown(value),
                    f"{self.id} has no such setting",
                    f"Remove it, or choose another model; this one has {_listed(self.fields)}",
                )

    def _explained(self, error: ValidationError) -> Iterable[Problem]:
        setting_of = {document_name: name for name, document_name in self.fields.items()}
        for item in error.errors():
            name = setting_of.get(str(item["loc"][0]))
            if name is not None:  # the others are inputs, which _slot_problems speaks of
                message, remedy = _in_words(item, self.arguments.model_fields[self.fields[name]])
                value = "" if item["type"] == "missing" else _shown(item["input"])
                yield Problem("", name, value, f"{self.id}: {message}", remedy)

    # --- inputs ---

    def _filled(self, references: Mapping[Slot, str]) -> JsonObject:
        filled: JsonObject = {}
        for slot in sorted(references):
            target = self.input_fields.get(slot.role)
            if target is None:
                continue
            if slot.role in MANY:
                filled.setdefault(target.name, []).append(references[slot])
            else:
                filled[target.name] = references[slot]
        return filled

    def _slot_problems(self, wanted: Wanted, slots: Sequence[Slot]) -> Iterable[Problem]:
        takes = _listed(self.input_fields)
        for role in sorted(wanted.roles - self.input_fields.keys()):
            yield Problem(
                "",
                role,
                "",
                f"{self.id} takes no such input",
                f"Remove it, or choose another model; this one takes {takes}",
            )
        for role, item in self.input_fields.items():
            count, rule = wanted.counts.get(role, 0), item.rule
            allowed = str(rule.minimum) if rule.minimum == rule.maximum else f"{rule.minimum} to {rule.maximum}"
            if count < rule.minimum:
                yield Problem("", role, "", f"{self.id} needs this input ({allowed})", f"Name it in inputs: {role}: …")
            elif count > rule.maximum:
                yield Problem(
                    "", role, f"{count} files", f"{self.id} takes {allowed} of these", "Remove those beyond that"
                )
            elif [slot.index for slot in slots if slot.role is role] != list(range(count)):
                given = ", ".join(str(slot) for slot in slots if slot.role is role)
                yield Problem("", role, given, "the places of this input are not 0, 1, 2 …", "Give each place one file")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(str(name) for name in sorted(names))


def _shown(value: object) -> str:
    """As it would be written in a yaml."""
    return str(value).lower() if isinstance(value, bool) else _printable(str(value))


def _printable(text: str) -> str:
    """The text with its lone surrogates escaped, so that it can be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()


def _in_words(item: ErrorDetails, about: FieldInfo) -> tuple[str, str]:
    """What pydantic found, as a message and a remedy. An unforeseen kind keeps pydantic's words."""
    context = item.get("ctx", {})
    match item["type"]:
        case "missing":
            return "this setting is required", "Write it in the shot's yaml or a _defaults.yaml"
        case "literal_error":
            return "no such option", f"Choose {str(context['expected']).replace(chr(39), '')}"
        case "no_unicode":
            return item["msg"], "Write the whole character itself, or its whole escape, e.g. \\U0001F600"
        case "string_too_long":
            limit = context["max_length"]
            over = len(str(item["input"])) - limit
            return f"longer than {limit} characters", f"Shorten it by {over} or more"
        case "greater_than_equal" | "less_than_equal":
            low = next(note.ge for note in about.metadata if isinstance(note, Ge))
            high = next(note.le for note in about.metadata if isinstance(note, Le))
            return "out of range", f"Choose {low} to {high}"
        case _:
            return item["msg"], "Write what the provider's document allows"
