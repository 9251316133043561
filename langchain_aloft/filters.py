"""Filters of documents: metadata that is equal, the common $-operators, or a function."""

import operator
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any

import numpy as np
from langchain_core.documents import Document

from aloft.api import ConfigError

_Metadata = Mapping[str, Any]
_Condition = Callable[[_Metadata], bool]
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_ASYNC = " It is async, but is called as a plain function."
_OPERATORS = ("$eq", "$ne", "$in", "$nin", *_ORDER, "$exists", "$not")


def read_filter(given: Any) -> Callable[[Document], bool]:
    """Return a filter as a function from a document to whether it may be retrieved.

    A dictionary names metadata: `{"source": "a.md"}` or `{"page": {"$gte": 3}}`; all its entries
    must hold. Entries may be combined by `$and`, `$or` and `$not`. Metadata that is a list equals
    a value, or is in a list of values, if one of its elements is. Metadata that is missing, or
    cannot be compared with a value, meets `$ne` and `$nin` alone.

    A date, path or UUID is compared with text as its own text, which is what a run keeps of it,
    and a decimal with a float as a float.

    Args:
        given: A dictionary, or a function from a document to whether it is admitted.

    Raises:
        ConfigError: the filter has another form.
    """
    if iscoroutinefunction(given):
        raise _refusal(given, _ASYNC)
    if callable(given):
        return lambda document: _is_admitted_by(given, document)
    condition = _read(given)
    return lambda document: condition(document.metadata)


def _is_admitted_by(function: Callable[[Document], Any], document: Document) -> bool:
    found = function(document)
    if isawaitable(found):  # true, whatever it would come to
        if iscoroutine(found):
            found.close()  # so that Python does not warn that nobody has awaited it
        raise _refusal(function, _ASYNC)
    return bool(found)


def _read(given: Any) -> _Condition:
    if not isinstance(given, Mapping):
        raise _refusal(given)
    return _all([_entry(key, value) for key, value in given.items()])


def _entry(key: Any, value: Any) -> _Condition:
    if key in ("$and", "$or"):
        if not isinstance(value, list | tuple) or not value:
            raise _refusal({key: value})
        parts = [_read(part) for part in value]
        return _all(parts) if key == "$and" else _any(parts)
    if key == "$not":
        return _not(_read(value))
    if not isinstance(key, str) or key.startswith("$"):
        raise _refusal({key: value})
    if isinstance(value, Mapping):
        if not value:
            raise _refusal({key: value})
        return _all([_operator(key, name, wanted) for name, wanted in value.items()])
    if isinstance(value, list | set | tuple | frozenset):
        raise _refusal({key: value}, f' For any of several values: {{"{key}": {{"$in": [...]}}}}.')
    if callable(value):
        raise _refusal({key: value}, " A function is given the whole document.")
    return _operator(key, "$eq", value)


def _operator(key: str, name: Any, wanted: Any) -> _Condition:
    if name == "$eq":
        return lambda metadata: (
            any(_is_equal(value, wanted) for value in _values(metadata, key))
            or (key in metadata and _is_equal(metadata[key], wanted))
        )
    if name == "$in" and _is_several(wanted):
        several = list(wanted)
        return lambda metadata: any(
            _is_equal(value, one) for value in _values(metadata, key) for one in several
        )
    if name in _ORDER:
        return lambda metadata: _compare(_ORDER[name], metadata.get(key), wanted)
    if name == "$exists" and isinstance(wanted, bool):
        return lambda metadata: (key in metadata) is wanted
    if name == "$ne":
        return _not(_operator(key, "$eq", wanted))
    if name == "$nin" and _is_several(wanted):
        return _not(_operator(key, "$in", wanted))
    if name == "$not":
        return _not(_entry(key, wanted))
    raise _refusal({key: {name: wanted}})


def _is_several(given: Any) -> bool:
    """Whether these are values, such as a list, a range or the keys of a dictionary.

    A generator is none: it can be read once, but a filter is read for each query.
    """
    return isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping)


def _values(metadata: _Metadata, key: str) -> list[Any]:
    """What the metadata holds under a key: nothing, a value or the elements of a list."""
    if key not in metadata:
        return []
    value = metadata[key]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | set | tuple | frozenset) else [value]


def _is_equal(value: Any, wanted: Any) -> bool:
    return bool(_compare(operator.eq, value, wanted)) or (value is None and wanted is None)


def _compare(comparison: Callable[[Any, Any], Any], value: Any, wanted: Any) -> bool:
    try:
        return value is not None and bool(comparison(value, _alike(wanted, value)))
    except (TypeError, ValueError):  # such as a text with a number, or arrays
        return False


def _alike(wanted: Any, value: Any) -> Any:
    """A date, path or id as text beside text: so a run's own passages keep them.

    And a decimal as a float beside one.
    """
    if isinstance(wanted, Decimal) and isinstance(value, float):
        return float(wanted)
    is_plain = wanted is None or isinstance(wanted, str | int | float)
    return str(wanted) if isinstance(value, str) and not is_plain else wanted


def _all(parts: list[_Condition]) -> _Condition:
    return lambda metadata: all(part(metadata) for part in parts)


def _any(parts: list[_Condition]) -> _Condition:
    return lambda metadata: any(part(metadata) for part in parts)


def _not(part: _Condition) -> _Condition:
    return lambda metadata: not part(metadata)


def _refusal(given: Any, advice: str = "") -> ConfigError:
    return ConfigError(
        f"The filter {given!r} is not supported.{advice} Pass metadata, such as "
        f'{{"source": "a.md"}} (operators: {", ".join(_OPERATORS)}; combined by $and, $or, $not), '
        "or a function: lambda document: ..."
    )
