"""Words and phrases that texts for users avoid, each with what to write instead."""

from __future__ import annotations

import re

FORBIDDEN = {
    r"\belse\b": "otherwise, if not, other",
    r"\bwhose\b": "which, of which",
    r"\btold\b": "given, printed",
    r"\b(is|are|be|can) said\b": "printed, reported",
    r"\btell\w* apart\b": "significantly different",
    r"\b(have|has|had|was|were|been|un)[ -]?(heard|seen)\b": "was trained on",
    r"\bmend(s|ed)?\b": "fix",
    r"\b(take|takes|taken|took|taking)\b.{0,20}\bapart\b": "separate",
    r"\bworth\b": "expected score, held-out score",
    r"\bhere and right\b": "downloaded and verified",
    r"\bnobody\b": "nothing, no separator",
    r"(?<!; )\b(file|files|folder|folders|row|rows|line|one|page|table|board|stem|name)s? an? "
    r"(song|stem|track|dataset|processor|separator|run|value|report)\b": "per",
    r"\bpieces? of work\b": "job, unit",
    r"\bfound done\b": "reused",
    r"\bcannot be had\b": "is not available",
    r"\bat all\b": "",
    r"\bgets? its name\b": "is verified",
    r"; (\d+|\w+'s)\.$": "[default: …]",
    r"^(Kept|Read|Told|Given|Shown|Written|Chosen|Left) (is|are) ": "the subject first",
    r"\blicence": "license",
    r"\b(kept|told|taken|heard|found) apart\b": "separate",
    r"\bheard in\b": "trained on",
    r"\bseen in training\b": "in the training data",
    r"\bwho gives?\b": "which gives",
    r"\bstands? beside\b": "is next to",
    r"\bthrown\b": "raised, deleted",
    r"\bknows? the answers?\b": "is an oracle, uses the references",
    r"\b(nothing|something|anything) else\b": "only, other",
    r"\botherwise than\b": "differently from",
    r"\bleads? out of\b": "is outside",
    r", it continues\b": "what continues",
    r"\bfor want of\b": "because there are too few",
    r"\bnot here\b": "missing",
}


def faults(text: str) -> list[str]:
    """Return what a text says that it should not, with what to write instead."""
    return [
        f"{found[0]!r} in {text!r}: write {instead or 'nothing'}"
        for pattern, instead in FORBIDDEN.items()
        if (found := re.search(pattern, text, re.IGNORECASE))
    ]
