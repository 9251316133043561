"""How an application wants a server to be asked: by which key, and how patiently."""

from dataclasses import dataclass, field

from pydantic import SecretStr

from aloft.config import SERVER
from aloft.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of the requests to a server; None stands for the default of each.

    Attributes:
        api_key: Sent with each request; None: ALOFT_API_KEY, if set.
        timeout: Longest wait for a response, in seconds.
        max_retries: How often a failed request is repeated.
    """

    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    max_retries: int | None = None

    @classmethod
    def of(
        cls, api_key: SecretStr | None, timeout: float | None, max_retries: int | None
    ) -> "ServerSettings":
        """Those of a host's model; an empty key is none."""
        key = api_key.get_secret_value() if api_key else None
        return cls(api_key=key or None, timeout=timeout, max_retries=max_retries)


DEFAULT_SETTINGS = ServerSettings()


def check_server_settings(model: str, settings: ServerSettings) -> None:
    """Check that settings of a server are given to one.

    Raises:
        ConfigError: the model is loaded by this process, so that they would do nothing.
    """
    names = [name for name in ServerSettings.__slots__ if getattr(settings, name) is not None]
    if names and not model.startswith(SERVER):
        raise ConfigError(
            f"{model} runs in this process, which has no use for {', '.join(names)}. Leave "
            f"{'it' if len(names) == 1 else 'them'} out, or name a server: {SERVER}URL#MODEL."
        )
