"""The formats that generators can be trained on, by name."""

from aloft.config import FormatName
from aloft.prompts.aloftrag import AloftragFormat
from aloft.prompts.citation import Format
from aloft.prompts.raft import RaftFormat
from aloft.prompts.ralt import RaltFormat

FORMATS: dict[FormatName, Format] = {
    "aloftrag": AloftragFormat(),
    "raft": RaftFormat(),
    "ralt": RaltFormat(),
}
