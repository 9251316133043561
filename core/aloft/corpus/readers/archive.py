"""The parts of a zipped document (Office, EPUB), unpacked one at a time and within a limit."""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from lxml import etree

from aloft.corpus.readers.source import (
    MEGABYTE,
    Found,
    Source,
    UnreadableError,
    parser_message,
    too_large,
)

_MOST_NAMED = 3  # of the embedded objects that are not read
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace; "" for comments and instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: etree._Element, name: str) -> str:
    """An attribute by its name without namespace, or "" where there is none."""
    return next(
        (value for key, value in element.items() if key.rpartition("}")[2] == name),
        "",
    )


def relation_id(element: etree._Element) -> str:
    """The id of the relation that an element of an Office part refers to."""
    return next((value for key, value in element.items() if key.endswith("}id")), "")


class Archive:
    """A zipped document.

    Args:
        source: The file.
        kind: What it should be, for errors: "DOCX".

    Raises:
        UnreadableError: it is not a ZIP file, is encrypted, or unpacks to more than the limit.
    """

    def __init__(self, source: Source, kind: str) -> None:
        self._kind = kind
        self._max_bytes = source.max_bytes
        self._unpacked = 0
        if source.raw.startswith(_OLE):
            detail = f"it has a password or an old format; save it as {kind} without a password"
            raise UnreadableError(f"encrypted {kind}", detail)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source.raw))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise self.broken(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()
        if isinstance(error, Exception) and not isinstance(error, UnreadableError):
            raise self.broken(error) from error

    def broken(self, error: Exception) -> UnreadableError:
        """The error of a file that the parser cannot read; it can be any exception."""
        if isinstance(error, UnreadableError):
            return error
        detail = f"{parser_message(error)}; save it again"
        return UnreadableError(f"unreadable {self._kind}", detail)

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def check_size(self) -> None:
        """Raise UnreadableError where all parts together unpack to more than the limit."""
        self._count(sum(info.file_size for info in self._zip.infolist()))

    def read(self, name: str) -> bytes:
        """Unpack one part; never more than the directory states, which is checked first.

        Raises:
            UnreadableError: the part is missing, damaged or too large.
        """
        try:
            info = self._zip.getinfo(name)
            self._count(info.file_size)
            return self._zip.read(info)
        except (KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise self.broken(error) from error

    def parse(self, name: str) -> etree._Element:
        """Parse one XML part; entities are not resolved and nothing is fetched."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        return etree.fromstring(self.read(name), parser)

    def relations(self, name: str) -> Mapping[str, tuple[str, str]]:
        """Of an Office part, its relations: kind and name of the other part, by relation id."""
        folder, file = posixpath.split(name)
        path = posixpath.join(folder, "_rels", f"{file}.rels")
        if path not in self:
            return {}
        return {
            one.get("Id", ""): (
                one.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, one.get("Target", ""))).lstrip("/"),
            )
            for one in self.parse(path)
            if local_name(one) == "Relationship" and one.get("TargetMode") != "External"
        }

    def embedded(self, source: Source, *parts: str) -> Iterator[Found | Source]:
        """The files that parts of an Office file embed; of older objects a line.

        Args:
            source: The Office file.
            parts: Names of its parts.
        """
        related = (one for part in parts for one in self.relations(part).values())
        others: list[str] = []
        for kind, name in dict.fromkeys(related):
            if kind == "oleObject":
                others.append(posixpath.basename(name))
            elif kind == "package":
                try:
                    yield source.inner(name, self.read(name))
                except UnreadableError as error:
                    yield source.reject(error.reason, error.detail, place=f"{source.name}#{name}")
        if others:
            named = ", ".join(others[:_MOST_NAMED]) + (", ..." if others[_MOST_NAMED:] else "")
            detail = f"{len(others)} of them ({named}); save them as files of their own"
            yield source.reject("embedded object", detail)

    def main_part(self) -> str:
        """The name of the part that an Office file opens with."""
        for kind, name in self.relations("").values():
            if kind == "officeDocument":
                return name
        raise UnreadableError(f"unreadable {self._kind}", "it has no main part; save it again")

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > self._max_bytes:
            found = f"more than {self._max_bytes / MEGABYTE:g} MB unpacked"
            raise too_large(found, self._max_bytes)
