"""A federation in one process: the real server and sites without a network, for tests."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from aloft_flower.site import Application, Participant

_SERVER = 1  # its node


class LocalGrid(Grid):  # type: ignore[misc]
    """Hands each message to its site and returns the answers, as Flower's network does.

    Args:
        sites: By name.
    """

    def __init__(self, sites: Mapping[str, Participant]) -> None:
        self.applications = {name: Application(site) for name, site in sites.items()}
        self._names = dict(enumerate(sites, 2))
        TaskIdentity.task_id = TaskIdentity.run_id = 1  # which messages are signed with
        TaskIdentity.node_id = _SERVER

    def get_node_ids(self) -> Iterable[int]:
        """All sites."""
        return list(self._names)

    def get_nodes(self) -> Iterable[Any]:
        """All sites with their names."""
        return [SimpleNamespace(node_id=i, name=name) for i, name in self._names.items()]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """The sites' answers, in order."""
        del timeout
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        context = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
        TaskIdentity.node_id = node
        try:
            return self.applications[self._names[node]].answer(message, context)
        finally:
            TaskIdentity.node_id = _SERVER

    @property
    def run(self) -> Any:
        """None: there is no run of Flower's."""
        return None

    def set_run(self, run: Any) -> None:
        """Ignore a run of Flower's."""

    def create_message(self, *_: Any, **__: Any) -> Message:
        """Messages are made by their class."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Messages are sent and received at once."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Messages are sent and received at once."""
        raise NotImplementedError
