"""Every error that Aloft raises on purpose.

* AloftError                               a user can put it right; one line says how
  - ConfigError        (also ValueError)   a setting is out of range or contradicts another
  - DataError          (also ValueError)   a file or record is not what a stage expects
  - ModelError                             a model is not here or can not do what is asked
    - ProbabilitiesError                   a model returns no probabilities of tokens
    - PromptTooLongError                   a prompt exceeds a model's context window
  - RunFolderError                         a run folder is held by another or not writable
  - ClusterError                           a cluster is not there or cannot work for a run
  - MissingExtraError  (also ImportError)  an optional dependency is not installed

Anything else that is raised is a bug of ours and shows its traceback.
"""


class AloftError(Exception):
    """Base of all errors a user can put right."""


class ConfigError(AloftError, ValueError):
    """A setting is out of range or contradicts another."""


class DataError(AloftError, ValueError):
    """A file or record is not what a stage expects."""


class ModelError(AloftError):
    """A model is not on this machine or can not do what is asked of it."""


class ProbabilitiesError(ModelError):
    """A model returns no probabilities of tokens."""


class PromptTooLongError(ModelError):
    """A prompt exceeds a model's context window; nothing of it was read.

    It is no ValueError: LlamaIndex' synthesizers take one for a reply that cannot be parsed, and
    answer "Empty Response".
    """


class RunFolderError(AloftError):
    """A run folder is held by another process or can not be written."""


class ClusterError(AloftError):
    """A cluster is not there, cannot work for a run or loses its workers."""


class MissingExtraError(AloftError, ImportError):
    """An optional dependency is not installed."""
