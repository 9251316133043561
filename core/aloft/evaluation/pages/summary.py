"""The outcome of a run in sentences: what decides, what gained, what was refused, what ships."""

from collections.abc import Iterator

from aloft.evaluation.bootstrap import metric_name
from aloft.evaluation.pages.figures import (
    OF_ANSWERS,
    interval,
    listed,
    percent,
    points,
    share_words,
)
from aloft.evaluation.report import FederationFacts, Report, SharedShares
from aloft.evaluation.systems import SystemVariant

FEW_DOCUMENTS = 10  # below this a cluster bootstrap's interval tends to be too narrow


def summarize(report: Report) -> str:
    """The outcome in a paragraph."""
    sentences = [
        *(_started_from(report), _decided(report), _few(report), *_judged(report)),
        *map(_federated, report.federation),
        _shared(report.shared_shares),
        *(_shipped(report), _declines(report), _indexed(report)),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _started_from(report: Report) -> str:
    """What is new since the previous run, whose parts are the "before"."""
    facts = report.previous_run
    if facts is None:
        return ""
    return (
        f"This run was started from {facts.run}, and each part is compared with what that shipped: "
        f"{facts.new_passages:,} of {facts.passages:,} passages are new, "
        f"{facts.new_pairs:,} pairs were trained on for the first time and "
        f"{facts.replayed_pairs:,} were replayed."
    )


def _federated(facts: FederationFacts) -> str:
    """What a federation trained, what of it ships, and what was revealed for it."""
    choice = facts.choice
    values = ", ".join(f"{name} {percent(value)}" for name, value in choice.values.items())
    megabytes = (facts.bytes_sent + facts.bytes_received) / 1e6
    text = (
        f"The {facts.part} was also trained by a federation: {facts.rounds} rounds, of which this "
        f"site answered {facts.answered} with {facts.rows:,} rows, {facts.sites} sites in the last "
        f"round, {megabytes:,.1f} MB of weights sent and received. By {metric_name(choice.metric)} "
        f"on the {choice.question_set} questions ({values}) this site takes the {choice.chosen} "
        "one."
    )
    if facts.epsilon is not None:
        text += (
            f" Its updates carry noise: together they have spent epsilon = {facts.epsilon:.3g} at "
            f"delta = {facts.delta:g}."
        )
    return text


def _shared(facts: SharedShares | None) -> str:
    """What this site and the other sites of a federation have measured of shares."""
    if facts is None:
        return ""
    own = f"on {facts.questions:,} questions, and sent it" if facts.questions else "on none"
    drawn = "its shares are drawn to that" if facts.sites > 1 else "too few to draw its shares to"
    return (
        f"What shares gain was measured at this site {own}; {facts.sites} other sites have sent it "
        f"of {facts.others:,} questions: {drawn}."
    )


def _decided(report: Report) -> str:
    counts, deciding = report.measured.questions, report.measured.deciding
    if deciding not in counts:
        return ""
    asked = counts[deciding].questions
    if deciding == "human":
        return f"The {asked} human questions decide."
    start = f"The {asked} {deciding} held-out questions decide"
    if "human" not in counts:
        return f"{start}; no human questions that a passage answers were given."
    given = counts["human"].questions
    least = report.config.get("evaluation", {}).get("min_human_questions", "more")
    return f"{start}; {given} human questions were given, and it takes {least} to decide."


def _few(report: Report) -> str:
    """A warning where the intervals rest on few documents, or on sections of them."""
    counts = report.measured.questions.get(report.measured.deciding)
    documents = counts.documents if counts else None
    if counts and counts.are_sections:
        return (
            f"They are about {documents} sections, which count as documents, as the corpus has "
            "few: what is gained on other documents may differ."
        )
    if documents is None or documents >= FEW_DOCUMENTS:
        return ""
    if documents == 1:
        return "All of them are about one document, so that no interval can be given."
    return f"They are about {documents} documents only: the intervals tend to be too narrow."


def _judged(report: Report) -> Iterator[str]:
    kept = [verdict for verdict in report.verdicts if verdict.is_kept]
    gains, others = [], []
    for verdict in kept:
        c = verdict.comparison
        if c is not None and c.gain > 0:
            figures = f"{metric_name(c.metric)} {percent(c.before)} to {percent(c.after)}"
            gain = f"{points(c.gain)} {interval(c.low, c.high)}"
            gains.append(f"the {verdict.part} ({figures}, {gain}, n = {c.n})")
        else:  # by itself it gains
            others.append(verdict)
    if gains:
        yield f"Gained and kept: {listed(gains)}."
    elif report.verdicts and not kept:
        yield "No part gained enough to be kept."
    for verdict in others:
        yield f"Kept: the {verdict.part}; {verdict.reason}."
    for verdict in report.verdicts:
        if not verdict.is_kept:
            yield f"Refused: the {verdict.part}; {verdict.reason}."
    left = [v.part for v in kept if report.shipped and v.part not in report.shipped.parts]
    if left:
        yield f"Kept but not shipped: the {listed(left)}; the whole system is better without."


def _shipped(report: Report) -> str:
    ships, variants = report.shipped, report.measured.variants
    if ships is None:
        return ""
    sentence = f"Ships: {_described(ships)}, with {_reached(ships)}"
    untuned = [variant for variant in variants if not variant.parts]
    if ships.parts and untuned:
        sentence += f" (nothing tuned: {_reached(untuned[0])})"
    return f"{sentence}."


def _declines(report: Report) -> str:
    """What the threshold of the generator that ships comes to."""
    generator = "tuned" if report.shipped and "generator" in report.shipped.parts else "base"
    of = (report.measured.deciding, generator)
    found = [c for c in report.measured.abstention if (c.question_set, c.generator) == of]
    curve = found[0] if found else None
    if curve is None or curve.answered is None or curve.declined is None:
        return ""
    promise = f", {percent(curve.promised)} were promised" if curve.threshold is not None else ""
    return (
        f"It answers {percent(curve.answered)} % of the questions whose passage was retrieved"
        f"{promise}, and declines {percent(curve.declined)} % of those whose passage is missing."
    )


def _described(variant: SystemVariant) -> str:
    system = variant.system
    words = "BM25"
    if system.retriever != "bm25":
        words = f"{system.retriever} retrieval with the {system.embedder} embedder"
    if system.retriever == "hybrid":
        words += f" (dense share {share_words(variant.dense_share)})"
    if variant.late_share is not None:
        share = share_words(variant.late_share)
        words += f", reordered by late interaction of its body (share {share})"
    if system.reranker != "none":
        share, by = share_words(variant.rerank_share), f"the {system.reranker} reranker"
        by = "late interaction of its body" if system.reranker == "body" else by
        words += f", reranked by {by} (share {share})"
    if not variant.metrics.keys().isdisjoint(OF_ANSWERS):
        generator = "tuned" if "generator" in variant.parts else "base"
        words += f", answers by the {generator} generator"
    return words


def _reached(variant: SystemVariant) -> str:
    of_answers = [metric for metric in OF_ANSWERS if metric in variant.metrics]
    shown = [m for m in ("ndcg@10", *of_answers[:1]) if m in variant.metrics]
    return " and ".join(f"{metric_name(m)} {percent(variant.metrics[m])}" for m in shown)


def _indexed(report: Report) -> str:
    """What a tuned embedder means for an existing index."""
    facts = report.indexing
    if facts is None or report.shipped is None or "embedder" not in report.shipped.parts:
        return ""
    took = f"{facts.texts:,} texts take {facts.seconds:,.0f} s here"
    if facts.is_kept:
        return f"An index can be kept: the tuned embedder changes questions alone ({took})."
    return f"An index must be rebuilt with the tuned embedder: {took}."
