"""Configs walk through JSON and back, and nothing that is misspelt gets through."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.arguments import settle
from masktools.core.configs import from_dict, later, ranged, to_dict
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig


@dataclass(frozen=True)
class Engine:
    cylinders: int = 4
    litres: float = 1.6

    def __post_init__(self):
        if self.cylinders < 1:
            raise ParameterError(f"cylinders must be at least 1, got {self.cylinders}")


@dataclass(frozen=True)
class Car:
    name: str
    engine: Engine = Engine()
    spare: Engine | None = None
    electric: bool = False
    fuel: Literal["petrol", "diesel"] | None = "petrol"
    gears: tuple[float, ...] = ()
    size: tuple[int, float] = (1, 2.0)
    doors: int | float = 4
    extras: dict[str, int] = field(default_factory=dict)
    engines: tuple[Engine, ...] = ()
    notes: Any = None


numbers = st.floats(allow_nan=False, allow_infinity=False)
engines = st.builds(Engine, st.integers(1, 99), numbers)
cars = st.builds(
    Car,
    name=st.text(),
    engine=engines,
    spare=st.none() | engines,
    electric=st.booleans(),
    fuel=st.sampled_from(["petrol", "diesel", None]),
    gears=st.lists(numbers).map(tuple),
    size=st.tuples(st.integers(), numbers),
    doors=st.integers() | numbers,
    extras=st.dictionaries(st.text(), st.integers()),
    engines=st.lists(engines, max_size=3).map(tuple),
)


@given(cars)
@settings(max_examples=50, deadline=None)
def test_a_config_survives_json(car):
    text = json.dumps(to_dict(car), allow_nan=False)
    again = from_dict(Car, json.loads(text))
    assert again == car
    assert [type(again.doors), type(again.engine.litres)] == [type(car.doors), float]


def test_the_settings_of_the_mel_front_end_survive_json():
    config = MelConfig(f_max=11_025.0)
    assert from_dict(MelConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_what_is_left_out_gets_its_default():
    assert from_dict(Car, {"name": "a", "engine": {"cylinders": 6}}) == Car("a", Engine(6))


def test_a_whole_number_is_taken_for_a_float_and_becomes_one():
    engine = from_dict(Engine, {"litres": 2})
    assert engine.litres == 2.0
    assert type(engine.litres) is float


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "a", "fuell": "diesel"}, r"Car has no key 'fuell': did you mean 'fuel'\?"),
        ({"name": "a", "zzz": 1}, r"Car has no key 'zzz': it has name, engine"),
        ({"name": "a", "engine": {"litre": 2}}, r"engine \(Engine\) has no key 'litre': did you mean 'litres'"),
        ({}, r"Car lacks the key 'name'"),
        ({"name": 3}, r"name must be a text, got 3 \(int\)"),
        ({"name": None}, r"name must be a text, got None \(NoneType\)"),
        ({"name": "a", "electric": 1}, r"electric must be true or false, got 1 \(int\)"),
        ({"name": "a", "engine": {"cylinders": True}}, r"engine.cylinders must be a whole number, got True \(bool\)"),
        ({"name": "a", "engine": {"cylinders": 4.0}}, r"engine.cylinders must be a whole number, got 4.0 \(float\)"),
        ({"name": "a", "engine": {"litres": False}}, r"engine.litres must be a number, got False"),
        ({"name": "a", "engine": {"litres": float("nan")}}, r"engine.litres must be a number, got nan"),
        ({"name": "a", "engine": {"litres": 10**400}}, r"engine.litres must be a number, got 1000"),
        ({"name": "a", "engine": {"cylinders": 0}}, r"^engine: cylinders must be at least 1, got 0"),
        ({"name": "a", "engine": [4]}, r"engine \(Engine\) must be a dictionary, got \[4\] \(list\)"),
        ({"name": "a", "engine": None}, r"engine \(Engine\) must be a dictionary, got None"),
        ({"name": "a", "spare": {"cylinders": "4"}}, r"spare.cylinders must be a whole number, got '4' \(str\)"),
        ({"name": "a", "spare": 4}, r"spare must be a dictionary or null, got 4"),
        ({"name": "a", "fuel": "petrel"}, r"fuel must be one of 'petrol', 'diesel' or null, got 'petrel'"),
        ({"name": "a", "gears": [1, "2"]}, r"gears\[1\] must be a number, got '2'"),
        ({"name": "a", "gears": "12"}, r"gears must be a list, each item a number, got '12'"),
        ({"name": "a", "size": [1]}, r"size must be a list of 2 \(a whole number, a number\), got \[1\]"),
        ({"name": "a", "doors": "4"}, r"doors must be a whole number or a number, got '4'"),
        ({"name": "a", "extras": {"a": "b"}}, r"extras.a must be a whole number, got 'b'"),
        ({"name": "a", "extras": []}, r"extras must be a dictionary, got \[\]"),
        ({"name": "a", "engines": [{}, {"litres": "x" * 99}]}, r"engines\[1\].litres must be a number, got 'x+\.\.\."),
    ],
)
def test_what_does_not_fit_is_named_in_full(data, message):
    with pytest.raises(ParameterError, match=message):
        from_dict(Car, data)


def test_a_misspelt_choice_gets_the_nearest():
    @dataclass(frozen=True)
    class Tank:
        fuel: Literal["petrol", "diesel"] = "petrol"

    with pytest.raises(ParameterError, match=r"got 'petrel' \(str\) \(did you mean 'petrol'\?\)"):
        from_dict(Tank, {"fuel": "petrel"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j, {1: 2}, b"x"])
def test_what_json_does_not_have_is_refused(value):
    with pytest.raises(ParameterError, match=r"notes\[0\] must be a value that JSON has, got"):
        to_dict(Car("a", notes=(value,)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_dict(Engine, {"cylinders": 0}), r"^cylinders must be at least 1, got 0$"),
        (lambda: to_dict(3), "a config must be a dataclass object, got 3"),
        (lambda: to_dict(Car), "a config must be a dataclass object"),
        (lambda: from_dict(int, {}), "a config must be described by a dataclass, got <class 'int'>"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_setting_that_came_later_is_written_where_it_is_not_its_default():
    @dataclass(frozen=True)
    class Grown:
        size: int = 3
        depth: int = later(0)

    assert to_dict(Grown()) == {"size": 3}
    assert to_dict(Grown(depth=2)) == {"size": 3, "depth": 2}
    assert from_dict(Grown, {"size": 3}) == Grown()
    assert from_dict(Grown, {"size": 3, "depth": 2}) == Grown(depth=2)


def test_a_field_says_itself_what_it_may_be():
    @dataclass(frozen=True)
    class Car:
        wheels: int = ranged(4, "[1, inf]")
        length: float = ranged(3.5, "(0, 20]", "m")
        colour: str | None = ranged(None, ("red", "blue"))

        __post_init__ = settle

    assert Car(wheels=np.int64(3), colour="red") == Car(3, 3.5, "red")
    for wrong, message in (
        ({"wheels": 0}, "wheels must be at least 1, got 0"),
        ({"length": 21}, r"length must lie in \(0, 20\] m, got 21 m"),
        ({"colour": "rad"}, r"unknown colour 'rad': choose from red, blue \(did you mean 'red'\?\)"),
    ):
        with pytest.raises(ParameterError, match=message):
            Car(**wrong)
    assert from_dict(Car, {"length": 4}) == Car(length=4.0)
