"""What models were asked is kept under all that their replies depend on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripted import ScriptedModels

from aloft.config import RunConfig
from aloft.protocols import Prompt
from aloft.records import Message
from aloft.run.work import Work
from aloft.storage import RunFolder

PROMPT = Prompt(messages=(Message(role="user", content="Why?"),))


def test_a_reply_is_kept_under_its_prompt_its_pattern_and_its_stops(tmp_path: Path) -> None:
    models = ScriptedModels()
    asked = models.teacher_model.asked

    def reply(prompts: Sequence[Prompt], stop: Sequence[str]) -> None:
        config = RunConfig(teacher="a teacher", embedder="an embedder")
        work = Work(RunFolder(tmp_path), config, models)
        said = work._reply("a generator", None, prompts, stop, "answering")
        assert said == ["You said: Why?"] * len(prompts)

    held = replace(PROMPT, pattern="[0-9]")
    reply([PROMPT, held], ("\n### ",))
    assert asked == [PROMPT, held]
    reply([held, PROMPT], ("\n### ",))
    assert len(asked) == 2
    reply([held, PROMPT], ())
    assert len(asked) == 4
