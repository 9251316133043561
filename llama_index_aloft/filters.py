"""LlamaIndex' metadata filters: all operators and conditions, nested to any depth."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from aloft.api import ConfigError, check_kind
from llama_index_aloft.convert import source_of, written_metadata

_Condition = Callable[[Mapping[str, Any]], bool]
_Comparison = Callable[[Any, Any], bool]  # of a value of the metadata with that of the filter

_COMPARISONS: dict[FilterOperator, _Comparison] = {
    FilterOperator.EQ: operator.eq,
    FilterOperator.NE: operator.ne,
    FilterOperator.GT: operator.gt,
    FilterOperator.GTE: operator.ge,
    FilterOperator.LT: operator.lt,
    FilterOperator.LTE: operator.le,
    FilterOperator.IN: lambda value, wanted: value in wanted,
    FilterOperator.NIN: lambda value, wanted: value not in wanted,
    FilterOperator.CONTAINS: lambda value, wanted: wanted in value,
    FilterOperator.ANY: lambda value, wanted: any(one in value for one in wanted),
    FilterOperator.ALL: lambda value, wanted: all(one in value for one in wanted),
    FilterOperator.TEXT_MATCH: lambda value, wanted: wanted in value,
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda value, wanted: (
        wanted.casefold() in value.casefold()
    ),
}
_OF_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_OF_TEXTS = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)
_NEGATIVE = (FilterOperator.NE, FilterOperator.NIN)
_SOURCE = ("doc_id", "document_id", "ref_doc_id")  # by which LlamaIndex' stores know it


def filterable(node: BaseNode) -> dict[str, Any]:
    """What filters see of a node, as stores keep it: metadata, and the id of its document."""
    return {**dict.fromkeys(_SOURCE, source_of(node)), **written_metadata(node)}


def read_filters(given: Any) -> _Condition:
    """Return filters as a function from what is `filterable` of a node to whether it is admitted.

    Metadata that is missing meets `!=` and `nin` alone, as in LlamaIndex' own store, and so does
    metadata that cannot be compared with the filter's value. NOT admits what no filter matches.

    Raises:
        ConfigError: the filters have another class, or an operator a value that it cannot have.
    """
    advice = 'Pass MetadataFilters(filters=[MetadataFilter(key="page", value=3)]).'
    check_kind("filters", given, MetadataFilters, advice)
    return _combined(given)


def _combined(filters: MetadataFilters) -> _Condition:
    parts = [
        _combined(one) if isinstance(one, MetadataFilters) else _single(one)
        for one in filters.filters
    ]
    if not parts:
        return lambda metadata: True
    if filters.condition == FilterCondition.OR:
        return lambda metadata: any(part(metadata) for part in parts)
    if filters.condition == FilterCondition.NOT:
        return lambda metadata: not any(part(metadata) for part in parts)
    return lambda metadata: all(part(metadata) for part in parts)


def _single(one: MetadataFilter) -> _Condition:
    key, wanted, name = one.key, one.value, one.operator
    if name == FilterOperator.IS_EMPTY:
        return lambda metadata: metadata.get(key) in (None, "", [])
    compare = _COMPARISONS.get(name)
    kind: type = list if name in _OF_LISTS else str if name in _OF_TEXTS else object
    if compare is None or wanted is None or not isinstance(wanted, kind):
        needed = "a list" if kind is list else "a text" if kind is str else "a value"
        raise ConfigError(
            f'The filter on "{key}" by "{name.value}" has the value {wanted!r}, but needs '
            f"{needed}. For metadata that is missing or empty: FilterOperator.IS_EMPTY."
        )

    def holds(metadata: Mapping[str, Any]) -> bool:
        value = metadata.get(key)
        if value is None:
            return name in _NEGATIVE
        try:
            return bool(compare(value, wanted))
        except (TypeError, AttributeError):  # such as a text with a number
            return name in _NEGATIVE

    return holds
