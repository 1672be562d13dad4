"""What the genres sound like, as tables: tempo, harmony, patterns, instruments, balance.

A pattern is one bar of sixteen steps: ``x`` loud, ``o`` normal, ``.`` soft, ``-`` nothing. A bass
pattern names chord tones instead: ``r`` root, ``t`` third, ``f`` fifth, ``o`` octave, ``a``
approach to the next root, ``-`` hold, ``.`` stop. A sound may be several with ``|`` between; an
artist takes one. A progression has one word a bar, chords in it
parted by ``/``; a chord is semitones above the key, then its quality (see `demo_score.QUALITIES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """How one instrument plays: sound, style, patterns of verse and chorus, chance to be there."""

    sound: str
    style: str
    verse: str
    chorus: str
    chance: float = 1.0


@dataclass(frozen=True)
class Genre:
    """A genre's rules; `swing` is the delay of off-beat eighths in eighths, `levels` are dB."""

    name: str
    tempo: tuple[float, float]
    major: tuple[str, ...]
    minor: tuple[str, ...]
    minor_chance: float
    verse: Mapping[str, str]
    chorus: Mapping[str, str]
    bass: Part
    guitar: Part | None
    piano: Part | None
    keys: Part | None
    electronic: bool = False
    rap: bool = False
    swing: float = 0.0
    room: float = 0.6
    levels: Mapping[str, float] = field(default_factory=dict)


GENRES: tuple[Genre, ...] = (
    Genre(
        name="rock",
        tempo=(112, 148),
        major=("0 5 7 5", "0 10 5 0", "0 7 9m 5", "9m 5 0 7"),
        minor=("0m 8 3 10", "0m 3 10 5", "0m 10 8 10"),
        minor_chance=0.4,
        verse={"kick": "x-----x-x-o-----", "snare": "----x-------x---", "hat": "x-o-x-o-x-o-x-o-"},
        chorus={
            "kick": "x-x---x-x-x---o-",
            "snare": "----x-------x--.",
            "open_hat": "x---x---x---x---",
            "crash": "x---------------",
        },
        bass=Part("pick|finger", "line", "r-r-r-r-r-r-r-r-", "r-r-r-r-r-r-f-a-"),
        guitar=Part("crunch|high gain|crunch", "power", "x-o-o-x-o-o-x-o-", "x-x-x-x-x-x-x-x-"),
        piano=Part("piano", "block", "x-------x-------", "x---o---x---o---", 0.5),
        keys=Part("organ|pad|epiano", "hold", "x---------------", "x-------x-------", 0.8),
        levels={"guitar": 1.5, "piano": 0.0},
    ),
    Genre(
        name="pop",
        tempo=(96, 126),
        major=("0 7 9m 5", "9m 5 0 7", "0 9m 5 7", "5 7 9m 0"),
        minor=("0m 8 3 10", "0m 5m 8 10"),
        minor_chance=0.3,
        verse={
            "kick": "x-----o-x-------",
            "snare": "----x-------x---",
            "hat": "x.o.x.o.x.o.x.o.",
            "tom_floor": "---------------.",
        },
        chorus={
            "kick": "x---x---x---x---",
            "snare": "----x-------x-.-",
            "clap": "----o-------o---",
            "hat": "x.o.x.o.x.o.x.o.",
            "crash": "o---------------",
        },
        bass=Part("synth|finger|pick", "line", "r-----r-r---f-o-", "r--r--r-r--r--a-"),
        guitar=Part("clean|acoustic|crunch", "strum", "x---o-o-x---o-o-", "x-o-x-oox-o-x-oo", 0.8),
        piano=Part("piano", "block", "x---o---x--o----", "x--o--x-o--x--o-"),
        keys=Part("pad|organ|epiano", "hold", "x---------------", "x---------------", 0.9),
        electronic=True,
        levels={"lead": 1.0, "piano": 0.5, "kick": -1.0},
    ),
    Genre(
        name="electronic",
        tempo=(118, 132),
        major=("9m 5 0 7", "5 7 9m 9m"),
        minor=("0m 8 3 10", "0m 0m 8 10", "0m 10 5m 8", "0m 3 8 10"),
        minor_chance=0.8,
        verse={
            "kick": "x---x---x---x---",
            "clap": "----x-------x---",
            "hat": "--x---x---x---x.",
            "tom_mid": "-------.------.-",
        },
        chorus={
            "kick": "x---x---x---x---",
            "clap": "----x-------x---",
            "hat": ".o.o.o.o.o.o.o.o",
            "open_hat": "--x---x---x---x-",
            "crash": "o---------------",
        },
        bass=Part("synth|sub|synth", "line", "--r---r---r---r-", "--rr--rr--rr--or"),
        guitar=Part("clean|crunch|mellow", "arpeggio", "o---o---o---o-o-", "x-o-x-o-x-o-x-o-", 0.5),
        piano=Part("piano", "block", "x--x--x---x-----", "x--x--x--x--x-x-", 0.8),
        keys=Part("saw|epiano|saw", "arpeggio", "x-o-x-o-x-o-x-o-", "xoxoxoxoxoxoxoxo"),
        electronic=True,
        room=0.8,
        levels={"keys": 2.5, "snare": 1.0},
    ),
    Genre(
        name="rap",
        tempo=(78, 98),
        major=("9m 5 9m 7", "2m7 7 0 9m"),
        minor=("0m 0m 8 7", "0m7 8 0m7 10", "0m 5m 8 7"),
        minor_chance=0.85,
        verse={
            "kick": "x-----x---x--o--",
            "snare": "----x-------x---",
            "hat": "x-o-x-oox-o-xoo-",
        },
        chorus={
            "kick": "x--o--x---x--o-o",
            "clap": "----x-------x---",
            "hat": "xoo-xooox-o-xoox",
            "open_hat": "--------------o-",
            "tom_floor": "----------o---.-",
        },
        bass=Part("sub|synth|finger", "line", "r-----r---r-----", "r--r--r---f--a--"),
        guitar=Part(
            "clean|mellow|acoustic", "arpeggio", "x---o-----o---o-", "x---o---x---o---", 0.5
        ),
        piano=Part("piano", "arpeggio", "x---o---x---o-o-", "x-o-o-x-o-o-x-o-", 0.8),
        keys=Part("epiano|organ|saw", "block", "x-------o-----o-", "x-----o-x-------"),
        electronic=True,
        rap=True,
        swing=0.12,
        room=0.4,
        levels={"lead": 2.0, "bass": 1.0},
    ),
    Genre(
        name="reggae",
        tempo=(68, 84),
        major=("0 5 0 7", "0 2m 0 2m", "0 9m 5 7"),
        minor=("0m 5m 0m 5m", "0m 10 0m 10"),
        minor_chance=0.4,
        verse={"kick": "--------x-------", "stick": "--------x-------", "hat": "x-o-x-o.x-o-x-o-"},
        chorus={
            "kick": "--------x-------",
            "snare": "--------x-----.-",
            "hat": "x-o.x-o-x-o.x-o.",
            "open_hat": "--------------o-",
            "crash": "o---------------",
            "tom_high": "-------------.--",
        },
        bass=Part("finger", "line", "r--r--t-f-.-r-a-", "r---f-o-.-r-t-a-"),
        guitar=Part("clean|twang", "skank", "----x-------x---", "----x-o-----x-o-"),
        piano=Part("piano", "skank", "----x-------x---", "----x-------x---", 0.7),
        keys=Part("organ", "skank", "--o-x-o---o-x-o-", "-oo--oo--oo--oo-"),
        swing=0.15,
        room=0.9,
        levels={"bass": 2.0, "kick": 1.0},
    ),
    Genre(
        name="jazz",
        tempo=(112, 172),
        major=("2m7 7d 0M7 9m7", "0M7 9m7 2m7/7d 0M7", "0M7/9d 2m7/7d 4m7/9d 2m7/7d"),
        minor=("2h 7d 0m7 0m7", "0m7 5m7 2h/7d 0m7"),
        minor_chance=0.35,
        verse={
            "kick": "o-----.-----.---",
            "snare": "-----.----.---.-",
            "ride": "x---x-o-x---x-o-",
            "hat": "----o-------o---",
        },
        chorus={
            "kick": "o--.--o---.--.--",
            "snare": "--.---o---o--.--",
            "ride": "x---x-o-x---x-o-",
            "hat": "----x-------x---",
            "tom_mid": "-------.-----.--",
        },
        bass=Part("upright|upright|finger", "line", "r---t---f---a---", "r---f---t--of-a-"),
        guitar=Part("mellow|clean", "block", "----o-------o---", "o---o---o---o---", 0.8),
        piano=Part("piano", "block", "--o---x-----o---", "x--o---x--o---o-"),
        keys=Part("epiano|organ", "block", "x---------o-----", "x-----o---------", 0.4),
        swing=0.33,
        room=0.7,
        levels={"kick": -5.0, "snare": -6.0, "cymbals": 1.0, "piano": 3.0, "bass": 1.0},
    ),
    Genre(
        name="singer/songwriter",
        tempo=(72, 104),
        major=("0 7 9m 5", "0 5 9m 7", "0 4m 5 7", "0 9m 2m 7"),
        minor=("0m 10 8 10", "0m 8 10 5m"),
        minor_chance=0.3,
        verse={"kick": "o-------o-------", "stick": "----o-------o---", "hat": "o-.-o-.-o-.-o-.-"},
        chorus={
            "kick": "x-----o-x-------",
            "snare": "----o-------o---",
            "ride": "o-.-o-.-o-.-o-.-",
            "crash": "o---------------",
        },
        bass=Part("finger|upright", "line", "r-------f-------", "r-----r-f-----a-"),
        guitar=Part("acoustic|acoustic|clean", "arpeggio", "x-o-o-o-x-o-o-o-", "xoo-ooo-xoo-ooo-"),
        piano=Part("piano", "block", "x-------x-------", "x---o---x---o---", 0.8),
        keys=Part("pad|epiano|organ", "hold", "x---------------", "x---------------", 0.6),
        room=0.9,
        levels={"guitar": 3.0, "lead": 1.0, "kick": -4.0, "snare": -4.0, "hihat": -3.0},
    ),
    Genre(
        name="heavy metal",
        tempo=(132, 176),
        major=("0 1 0 10", "0 3 5 6"),
        minor=("0m 8 10 0m", "0m 1 0m 10", "0m 3 10 8"),
        minor_chance=0.9,
        verse={
            "kick": "xooxooxooxooxooo",
            "snare": "----x-------x---",
            "ride": "x-o-x-o-x-o-x-o-",
        },
        chorus={
            "kick": "xoxoxoxoxoxoxoxo",
            "snare": "----x-------x---",
            "hat": "--------------o-",
            "open_hat": "x---x---x---x---",
            "crash": "x-------x-------",
            "tom_floor": "------o---------",
        },
        bass=Part("pick", "line", "rrrrrrrrrrrrrrrr", "r-rrr-rrr-rrr-rr"),
        guitar=Part("high gain", "power", "xooxooxooxooxooo", "x-xxx-xxx-xxx-xx"),
        piano=None,
        keys=Part("saw|pad|organ", "hold", "x---------------", "x-------x-------", 0.6),
        room=0.7,
        levels={"guitar": 3.0, "kick": 0.5, "lead": -0.5},
    ),
    Genre(
        name="country",
        tempo=(92, 124),
        major=("0 5 0 7", "0 0 5 7", "0 9m 5 7", "5 0 7 0"),
        minor=("0m 10 8 7",),
        minor_chance=0.1,
        verse={"kick": "x-------x-------", "snare": "--.-o-.-.-o-x-.-", "hat": "o-o-o-o-o-o-o-o-"},
        chorus={
            "kick": "x-----o-x-------",
            "snare": "----x-----.-x-.-",
            "ride": "x-o-x-o-x-o-x-o-",
            "crash": "x---------------",
            "tom_high": "---------------.",
        },
        bass=Part("finger|upright|pick", "line", "r-------f-------", "r---r---f---f-a-"),
        guitar=Part("twang|acoustic", "strum", "o-x-ooxoo-x-ooxo", "x-xox-xox-xox-xo"),
        piano=Part("piano", "block", "--x---x---x---x-", "x-o-x-o-x-o-x-o-", 0.8),
        keys=Part("organ", "hold", "x---------------", "x-------x-------", 0.6),
        swing=0.1,
        levels={"guitar": 2.5, "lead": 1.0},
    ),
)
