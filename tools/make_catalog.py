r"""Make harness/catalog/models.jsonl: the open checkpoints that public lists name, as facts.

    pip download --no-deps -d LISTS pymss==2.1.12 splifft==0.0.9 melband-roformer-infer==0.1.5 \
        bs-roformer-infer==0.1.5 demucs-infer==4.4.0 audio-separator==0.47.1
    git clone https://github.com/ZFTurbo/Music-Source-Separation-Training LISTS/msst
    git clone https://github.com/TRvlvr/application_data LISTS/uvr
    python tools/make_catalog.py LISTS

Nothing of the packages is run or installed: their lists are read from the wheels. Two names are one
checkpoint if their sha256 is the same, or the file name and what is known of the size. What no list
says, such as training data, comes from tools/catalog_facts.yaml.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.core import strict_yaml, taxonomy
from harness.registry import load
from harness.registry.checkpoint_catalog import FAMILY_OF, REST, our_stems, slug
from harness.separators import how_to_install, package_of_type

ROOT = Path(__file__).parents[1]
FACTS = strict_yaml.read(Path(__file__).with_name("catalog_facts.yaml"))
GOAL = ROOT / "harness" / "catalog" / "models.jsonl"

MSST = {kind for kind, family in FAMILY_OF.items() if family == "msst"}
NEVER = {"bs_mamba2", "bs_polarformer"}  # types without a class here
FETCHABLE = ("https://", "hf:")
GONE = ("https://github.com/TRvlvr/model_repo/", "hf:jarredou/")  # since 2026; asked last
MIRROR = "hf:Politrees/UVR_resources/models/MDXNet"  # of MDX files
MUSIC_ONLY = {"separation", "dereverb", "denoise", "decrowd"}  # purposes of splifft
LEADS = ("karaoke", "Karaoke", "vocals", "Vocals")  # names in configurations for karaoke
MVSEP = "multisong (mvsep.com)"
Row = dict[str, Any]


def main() -> None:
    lists = Path(sys.argv[1])
    catalog = Catalog()
    for read in (
        from_the_tool, from_splifft, from_melband, from_bs, from_demucs, from_audio_separator,
        from_uvr, from_pymss,
    ):  # fmt: skip
        for row in read(lists):
            if row["file"] not in FACTS["left_out"]:
                catalog.add(row)
    rows = [finished(row) for row in catalog.rows] + [dict(row) for row in FACTS["rows"]]
    known = load()
    rows = [row for row in rows if row["name"] not in set(known)]
    share_files(rows, {f.file: f.sha256 for entry in known.values() for f in entry.weights})
    rows.sort(key=lambda row: (row["type"], row["name"]))
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    GOAL.write_text("\n".join(lines) + "\n", encoding="utf-8")
    hashed = sum(bool(row["weights"][0].get("sha256")) for row in rows)
    print(f"{len(rows)} rows, {hashed} with a published sha256, {GOAL.stat().st_size} bytes")
    print("\n".join(["", "| type | rows | run | with |", "|---|---|---|---|", *type_lines(rows)]))


def type_lines(rows: list[Row]) -> list[str]:
    """Return the table of docs/catalog.md: how many rows of each type run, and with what."""
    counts = Counter(row["type"] for row in rows)
    able = Counter(row["type"] for row in rows if not row.get("unavailable"))
    return [f"| `{kind}` | {n} | {able[kind]} | {runs_with(kind)} |" for kind, n in counts.items()]


def runs_with(kind: str) -> str:
    """Return what must be installed for a type beside this package."""
    if kind in NEVER:
        return "nothing: see `unavailable`"
    if FAMILY_OF[kind] == "audio_separator":
        return f"`{how_to_install('audio-separator')}`"
    package = package_of_type(kind) if FAMILY_OF[kind] == "msst" else ""
    return f"`{how_to_install(package, kind)}`" if package else "this package alone"


def share_files(rows: list[Row], hashes: dict[str, str | None]) -> None:
    """Make what is known of a file the same in all rows that use it; `hashes` of the registry."""
    files: dict[str, Row] = {}
    for row in rows:
        for i, file in enumerate(row["weights"]):
            first = files.setdefault(file["file"], file)
            first["urls"] = list(dict.fromkeys([*first.get("urls", []), *file.get("urls", [])]))
            for key in ("sha256", "size"):
                if file.get(key, first.get(key)) != first.setdefault(key, file.get(key)):
                    raise SystemExit(f"{file['file']}: two files have this name")
            row["weights"][i] = first
    for file in files.values():
        file["urls"].sort(key=lambda url: url.startswith(GONE))
        file["sha256"] = file.get("sha256") or hashes.get(file["file"])
        for key in [key for key, value in file.items() if not value]:
            del file[key]


class Catalog:
    """Rows, and which of them is about a file."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._by_hash: dict[str, Row] = {}
        self._by_file: dict[str, list[Row]] = {}

    def add(self, row: Row) -> None:
        """Add a row, or its facts to the row of the same checkpoint."""
        row["file"] = re.sub(r"\.chpt$", ".ckpt", row["file"])
        row |= {k: v for k, v in facts_of(row["file"]).items() if k in ("sha256", "size", "scores")}
        same = self._by_hash.get(row.get("sha256") or "") or self._same_file(row)
        if same is None:
            self.rows.append(same := {"also": [], "scores": [], "lists": [], "urls": []})
        for key, value in row.items():
            if key in ("also", "scores", "lists", "urls"):
                same[key] += [part for part in value if part not in same[key]]
            elif key == "config" and same.get("config"):
                merge_config(same["config"], value)
            elif value and not same.get(key):
                same[key] = value
        same["also"] += [n for n in (row["file"],) if n not in (same["file"], *same["also"])]
        self._by_file.setdefault(row["file"].lower(), []).append(same)
        if same.get("sha256"):
            self._by_hash[same["sha256"]] = same

    def _same_file(self, row: Row) -> Row | None:
        for other in self._by_file.get(row["file"].lower(), []):
            facts = [(row.get(k), other.get(k)) for k in ("sha256", "size")]
            if all(a is None or b is None or a == b for a, b in facts):
                return other
        return None


def facts_of(file: str) -> Row:
    """Return what is known of a file by hand."""
    license_text = next((text for text, of in FACTS["licenses"].items() if file in of), None)
    return {"license": license_text, **FACTS["models"].get(file, {})}


def merge_config(old: Row, new: Row) -> None:
    """Add addresses of the same configuration; a hash holds only for the file it was made of."""
    if old.get("sha256") and new.get("sha256") not in (None, old["sha256"]):
        return
    if not old.get("sha256") and new.get("sha256"):
        old.clear()
        old.update(new)
        return
    if not old.get("sha256"):
        old["urls"] += [url for url in new["urls"] if url not in old["urls"]]


def finished(row: Row) -> Row:
    """Return a row as it is written: our names of stems, plain file names, nothing empty."""
    file = row["file"]
    name = slug(row.get("id") or file)
    facts = facts_of(file)
    kind = "bs_roformer_hyperace" if "hyperace" in file else facts.get("type") or row["type"]
    task = row.get("task", "separation")
    ours, names = stems_of(row, task)
    done: Row = {"name": name, "title": row.get("title") or Path(file).stem, "type": kind}
    done |= {"input": "drums"} if set(ours) & {"kick", "snare"} and len(ours) < 8 else {}
    done |= {"stems": ours}
    done |= {"target": ours[0]} if len(ours) == 1 else {}
    done |= {"task": task} if task != "separation" else {}
    params = dict(row.get("params") or {})
    names = params.pop("names", {} if kind == "demucs" else names)
    if kind in ("vr", "mdx"):  # the package names both outputs, with capitals
        pairs = zip(row["theirs"], ours, strict=True)
        names = {form: o for t, o in pairs for form in (t.lower(), t.title())}
    done |= {"names": names} if names else {}
    done |= {"params": params} if params else {}
    done["weights"] = weights_of(row, name, kind)
    done["author"] = row.get("author") or facts.get("author") or []
    done["license"] = facts.get("license") or row.get("license") or "not stated"
    done["trained_on"] = facts.get("trained_on", row.get("trained_on"))
    done |= {"scores": row["scores"]} if row["scores"] else {}
    also = {slug(text) for text in row["also"]} - {name}
    done |= {"also": sorted(also)} if also else {}
    done["lists"] = row["lists"]
    lacking = kind in ("bs_mamba2", "bs_polarformer") or file in FACTS["no_class_for"]
    lacking = row.get("unavailable") or (FACTS["no_class"] if lacking else "")
    done |= {"unavailable": lacking} if lacking else {}
    return done


def weights_of(row: Row, name: str, kind: str) -> list[Row]:
    """Return the files of a row; the configuration is the last."""
    if "weights" in row:
        return row["weights"]
    suffix = ".ckpt" if kind in MSST and Path(row["file"]).suffix in (".chpt", ".bin") else ""
    stem = plain(Path(row["file"]).stem)
    model = file_of(stem + (suffix or Path(row["file"]).suffix), row)
    if kind in MSST:
        config = row.get("config") or {"urls": [], "by_hand": "find its configuration"}
        return [model, file_of(f"{stem}.yaml", config | facts_of(row["file"]).get("config", {}))]
    if kind in ("vr", "mdx"):
        return [model, dict(FACTS["settings"][kind])]
    return [model]


def file_of(name: str, row: Row) -> Row:
    urls = [hub(url) for url in row["urls"] if url.startswith(FETCHABLE)]
    urls += [f"{MIRROR}/{name}"] if name.endswith(".onnx") and urls[0].startswith(GONE) else []
    kept = {"file": name, "sha256": row.get("sha256"), "size": row.get("size"), "urls": urls}
    if not urls:
        kept["by_hand"] = row.get("by_hand") or "download it from its author's page"
    return {key: value for key, value in kept.items() if value}


def stems_of(row: Row, task: str) -> tuple[list[str], dict[str, str]]:
    """Return our names of the stems, and how the configuration names those that differ."""
    theirs = row.get("theirs")
    given = theirs or row.get("stems") or facts_of(row["file"]).get("stems") or []
    if not given:
        return [], {}
    ours = list(our_stems(given).values())
    if ours == [REST]:  # all models that are listed with this stem alone are of vocals
        return ["accompaniment"], dict.fromkeys(given, "accompaniment")
    if task == "karaoke":
        ours = [{"vocals": "lead", "accompaniment": REST}.get(name, name) for name in ours]
    names = {t: o for t, o in zip(given, ours, strict=True) if taxonomy.canonical(t) != o}
    if not theirs:  # the list has its own names
        names = dict.fromkeys(LEADS, "lead") if ours == ["lead"] else {}
    return ours, names


def plain(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)


def hub(url: str) -> str:
    """Write an address of the model hub in its short form."""
    found = re.fullmatch(
        r"https://huggingface\.co/([^/]+/[^/]+)/(?:resolve|raw|blob)/([^/]+)/([^?]+)(?:\?.*)?", url
    )
    if not found:
        return re.sub(r"^(https://github\.com/[^/]+/[^/]+)/blob/", r"\1/raw/", url).strip()
    repo, revision, path = found.groups()
    return f"hf:{repo}/{unquote(path)}" + ("" if revision == "main" else f"@{revision}")


@cache
def read_json(lists: Path, wheel: str, member: str) -> Any:
    """Return a JSON file of a wheel."""
    return json.loads(member_of(lists, wheel, member))


def member_of(lists: Path, wheel: str, member: str) -> bytes:
    (path,) = lists.glob(f"{wheel}-*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)


def git(repository: Path, member: str) -> bytes:
    """Return a file of the newest commit of a repository."""
    command = ["git", "-C", str(repository), "show", f"HEAD:{member}"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def label(lists: Path, wheel: str) -> str:
    """Return name and version of a list."""
    (path,) = lists.glob(f"{wheel}-*.whl")
    name, version = path.name.split("-")[:2]
    return f"{name.replace('_', '-')} {version}"


def from_the_tool(lists: Path) -> list[Row]:
    """Read the tables of the MSS-Training tool, which state test sets."""
    rows, section = [], ""
    for line in git(lists / "msst", "docs/pretrained_models.md").decode().split("\n"):
        section = line.strip("# ") if line.startswith("##") else section
        links = dict(re.findall(r"\[(Config|Weights)\]\(([^)]+)\)", line))
        if len(links) < 2 or "fbaipublicfiles" in links["Weights"] or "DrumSep ht" in line:
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        title = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cells[0])
        file = links["Weights"].rsplit("/", 1)[1]
        file = "Apollo_" + file if file == "pytorch_model.bin" else file
        only_musdb = "MUSDB18HQ" in section or "MUSDB18 only" in title
        instruments = cells[1] if "/" in cells[1] or "SDR" in cells[2] else ""
        stems = re.split(r"\s*/\s*", instruments) if instruments else FOUR
        kind = tool_type(title)
        single = section.startswith("Single") or kind == "apollo"
        rows.append({
            "file": file,
            "title": title,
            "type": kind,
            "theirs": None if single else stems,
            "stems": ["restored"] if kind == "apollo" else stems[:1] if single else stems,
            "urls": [links["Weights"]],
            "config": {"urls": [links["Config"].strip()]},
            "author": re.findall(r"\[([^\]]+)\]\(https://github", cells[0]) or ["ZFTurbo"],
            "trained_on": ["musdb18hq:train"] if only_musdb else None,
            "scores": tool_scores(line),
            "lists": ["Music-Source-Separation-Training docs/pretrained_models.md"],
        })  # fmt: skip
    return rows


FOUR = ["bass", "drums", "vocals", "other"]
TOOL_TYPES = {
    "bs mamba2": "bs_mamba2", "polarformer": "bs_polarformer", "bs conformer": "bs_conformer",
    "scnet tran": "scnet_tran", "scnet masked": "scnet_masked", "scnet": "scnet",
    "bs roformer": "bs_roformer", "melband": "mel_band_roformer", "mdx23c": "mdx23c",
    "htdemucs": "htdemucs", "segm": "segm_models", "swin": "swin_upernet", "bandit": "bandit",
    "apollo": "apollo",
}  # fmt: skip


def tool_type(title: str) -> str:
    return next(kind for word, kind in TOOL_TYPES.items() if word in title.lower())


def tool_scores(line: str) -> list[Row]:
    """Return the scores of a row of the tool's tables: SDR of whole tracks, mean over tracks."""
    sets = {"MUSDB test avg": "musdb18hq:test", "Multisong": MVSEP, "SDR vocals": MVSEP}
    found = []
    for word, dataset in sets.items():
        part = re.search(rf"{word}[^(|<]*(?:\(([^)]*)\)|: ([\d.]+))", line)
        if part and part[1]:
            values = dict(re.findall(r"(bass|drums|vocals|other): ([\d.]+)", part[1]))
        elif part and part[2] and word == "SDR vocals":
            values = {"vocals": part[2]}
        else:
            continue
        found.append(score("usdr", dataset, "Music-Source-Separation-Training", values))
    return [one for one in found if one["scores"]]


def score(metric: str, dataset: str, source: str, values: Any) -> Row:
    scores = {stem: round(float(value), 4) for stem, value in values.items()}
    return {"metric": metric, "dataset": dataset, "source": source, "scores": scores}


def from_splifft(lists: Path) -> list[Row]:
    rows = []
    for name, model in read_json(lists, "splifft", "splifft/data/registry.json").items():
        files = {part["kind"]: part for part in reversed(model["resources"])}
        if model["purpose"] not in MUSIC_ONLY or "model_ckpt" not in files:
            continue
        kind = {"mel_roformer": "mel_band_roformer"}.get(
            model["architecture"], model["architecture"]
        )
        address = files["model_ckpt"]["url"]
        direct = (
            "/view" not in address and "mega.nz" not in address and "disk.yandex" not in address
        )
        digest = files["model_ckpt"].get("digest", "").removeprefix("sha256:")
        config = files.get("config_msst", {}).get("url", "")
        rows.append({
            "file": unquote(address.rsplit("/", 1)[1]) if direct else f"{name}.ckpt",
            "id": "" if direct else name,
            "title": name.replace("-", ", ").replace("_", " "),
            "type": kind,
            "stems": model["output"],
            "task": "karaoke" if "karaoke" in name or "-kar" in name else
                    {"separation": "separation"}.get(model["purpose"], model["purpose"]),
            "urls": [address] if direct else [],
            "by_hand": "" if direct else f"download it from {address}",
            "config": {"urls": [config] if direct else [], "by_hand": f"download it from {config}"},
            "sha256": digest or None,
            "size": model.get("model_size"),
            "author": model["authors"],
            "scores": splifft_scores(model.get("metrics", [])),
            "also": [name],
            "lists": [label(lists, "splifft")],
        })  # fmt: skip
    return rows


def splifft_scores(metrics: list[Row]) -> list[Row]:
    """Return scores; the test set is stated only where the source is a page of MVSep."""
    source = next((m["source"] for m in metrics if m.get("source")), "")
    on_mvsep = source.startswith("https://mvsep.com/quality_checker")
    found = []
    for values in (m["values"] for m in metrics if m.get("values")):
        dbs = {taxonomy.canonical(stem): v["sdr"] for stem, v in values.items() if "sdr" in v}
        where = ("usdr", MVSEP) if on_mvsep else ("sdr, not defined", "not stated")
        found += [score(*where, source if on_mvsep else "splifft", dbs)] if dbs else []
    return found


def from_melband(lists: Path) -> list[Row]:
    return from_infer(lists, "melband_roformer_infer", "mel_band_roformer", "melband_models.json")


def from_bs(lists: Path) -> list[Row]:
    return from_infer(lists, "bs_roformer_infer", "bs_roformer", "bs_models.json")


def from_infer(lists: Path, wheel: str, kind: str, table: str) -> list[Row]:
    """Read the lists of a package for one architecture."""
    folder = f"{kind.replace('mel_band', 'mel_band')}/data"
    models = read_json(lists, wheel, f"{folder}/{table}")["models"]
    addresses = read_json(lists, wheel, f"{folder}/overrides.json")
    hashes = read_json(lists, wheel, f"{folder}/checksums.json")["files"]
    rows = []
    for name, model in models.items():
        file, config = model["checkpoint"], model["config"]
        if file not in addresses["checkpoints"] or config not in addresses["configs"]:
            continue
        rows.append({
            "file": file,
            "title": model["name"].removeprefix("Roformer Model: ").replace(" | ", ", "),
            "type": kind,
            "stems": [c] if (c := model["category"]) in ("vocals", "instrumental") else None,
            "task": model["category"] if model["category"] in ("dereverb", "denoise", "karaoke")
                    else None,
            "urls": [addresses["checkpoints"][file]],
            "config": {"urls": [addresses["configs"][config]], **hashes.get(config, {})},
            "also": [name],
            "lists": [label(lists, wheel)],
            **hashes.get(file, {}),
        })  # fmt: skip
    return rows


def from_demucs(lists: Path) -> list[Row]:
    """Read the models of demucs and its relatives; bags are one row."""
    member = "demucs_infer/config/checkpoints.toml"
    content = tomllib.loads(member_of(lists, "demucs_infer", member).decode())
    catalog = read_json(lists, "pymss", "pymss/resources/model_catalog.json")["models"]
    sizes = {m["name"]: m["size_bytes"] for m in catalog}
    files = {a["id"]: a for a in content["artifacts"]}
    rows = []
    for model in content["models"]:
        if model["format"] != "demucs_package":
            continue
        parts = [files[one] for one in dict.fromkeys(model["components"])]
        stems = model.get("stems") or ["drums", "bass", "other", "vocals"]
        count = [model["components"].count(part["id"]) for part in parts]
        bag = [
            {stem: float(w) * n for stem, w in zip(stems, weights, strict=True) if w}
            for n, weights in zip(count, model.get("weights") or [], strict=False)
        ]
        names = {"bombo": "kick", "redoblante": "snare", "platillos": "cymbals",
                 "non_vocals": "accompaniment"}  # fmt: skip
        params: Row = {"bag": bag} if "weights" in model else {}
        params |= {"segment": model["segment"]} if "segment" in model else {}
        params |= (
            {"names": {s: names[s] for s in stems if s in names}} if set(stems) & set(names) else {}
        )
        quantized = model["name"].endswith("_q")
        rows.append({
            "file": f"{model['name']}.th",
            "title": model.get("display_name") or f"Demucs {model['name']}",
            "type": "demucs",
            "stems": [names.get(stem, stem) for stem in stems],
            "params": params,
            "weights": [
                {k: v for k, v in {
                    "file": part["path"], "sha256": part["sha256"],
                    "size": sizes.get(part["path"]) or facts_of(part["path"]).get("size"),
                    "urls": part["urls"],
                }.items() if v}
                for part in parts
            ],
            "license": "MIT" if all(p["license"] == "MIT" for p in parts) else "not stated",
            "author": sorted({part["provenance"].split("/")[0] for part in parts}),
            "unavailable": FACTS["quantized"] if quantized else "",
            "lists": [label(lists, "demucs_infer")],
        })  # fmt: skip
    return rows


RELEASES = "https://github.com/TRvlvr/model_repo/releases/download/all_public_uvr_models"
CONFIGS = "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs"
VIP = "https://github.com/Anjok0109/ai_magic/releases/download/v5"


def from_audio_separator(lists: Path) -> list[Row]:
    """Read the models of audio-separator that its own releases have."""
    found = read_json(lists, "audio_separator", "audio_separator/models.json")
    rows = []
    for kind in ("vr", "mdx", "mdx23c", "roformer"):
        for title, files in found[f"{kind}_download_list"].items():
            pairs = files.items() if isinstance(files, dict) else [(files, "")]
            for file, config in pairs:
                rows.append(separator_row(lists, title, file, config, kind, CONFIGS))
    return rows


def separator_row(lists: Path, title: str, file: str, config: str, kind: str, base: str) -> Row:
    """Return the row of a file that audio-separator runs by name."""
    measured = read_json(lists, "audio_separator", "audio_separator/models-scores.json").get(file)
    of_mel = "mel" in (title + file).lower()
    medians = (measured or {}).get("median_scores", {}).items()
    values = {s: v["SDR"] for s, v in medians if isinstance(v, dict) and "SDR" in v}
    source = "audio-separator models-scores.json, median over tracks of the training split"
    row: Row = {
        "file": file,
        "title": re.sub(r"^[^:]*: ", "", title).replace(" | ", ", "),
        "type": {"roformer": "mel_band_roformer" if of_mel else "bs_roformer"}.get(kind, kind),
        "task": "karaoke" if "karaoke" in title.lower() or "KARA" in file else None,
        "urls": [f"{base}/{file}"],
        "scores": [score("sdr, not defined", "musdb18:train", source, values)] if values else [],
        "lists": [label(lists, "audio_separator")],
    }
    if kind in ("vr", "mdx"):
        row["theirs"] = (measured or {}).get("stems") or ["instrumental", "vocals"]
    else:
        row["config"] = {"urls": [f"{base}/{config}"]}
        row["stems"] = guessed_stems(title)
    return row


def guessed_stems(title: str) -> list[str] | None:
    """Return the stem that a title of audio-separator names."""
    found = re.search(r"(Vocals?|Inst(?:rumental)?)\b", title)
    return found and (["vocals"] if found[1].startswith("V") else ["instrumental"])


def from_uvr(lists: Path) -> list[Row]:
    """Read the lists that audio-separator takes from UVR at run time."""
    found, rows = json.loads(git(lists / "uvr", "filelists/download_checks.json")), []
    command = ["git", "-C", str(lists / "uvr"), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    pinned = f"https://raw.githubusercontent.com/TRvlvr/application_data/{commit}"
    for kind, part in (("vr", "vr"), ("mdx", "mdx"), ("mdx", "mdx_download_vip")):
        key = part if part.endswith("vip") else f"{part}_download"
        base = VIP if key.endswith("vip") else RELEASES
        for title, file in found[f"{key}_list"].items():
            rows.append(separator_row(lists, title, file, "", kind, base))
    for group in ("other_network_list", "other_network_list_new"):
        for title, files in found[group].items():
            (file, address), (config, _) = files.items()
            member = f"mdx_model_data/mdx_c_configs/{config}"
            blob = git(lists / "uvr", member)
            kind = next((k for w, k in TOOL_TYPES.items() if w in title.lower()), "bs_roformer")
            kind = "bandit_v2" if "Bandit v2" in title else kind
            rows.append({
                "file": file,
                "title": re.sub(r"^[^:]*: ", "", title).replace(" | ", ", "),
                "type": kind,
                "urls": [address],
                "config": {"urls": [f"{pinned}/{member}"], "size": len(blob),
                           "sha256": hashlib.sha256(blob).hexdigest()},
                "stems": guessed_stems(title),
                "lists": ["UVR download_checks.json"],
            })  # fmt: skip
    return rows


OLD = {"legacy_demucs": "demucs", "legacy_tasnet": "demucs"}


def from_pymss(lists: Path) -> list[Row]:
    """Read the largest list; all its files lie in one repository of the hub."""
    content = read_json(lists, "pymss", "pymss/resources/model_catalog.json")
    rows = []
    for model in content["models"]:
        file, path, kind = model["name"], model["relpath"], model["model_type"]
        place = path.split("/")[-2]
        karaoke = place == "karaoke"
        task = (
            "karaoke" if karaoke else ("cleanup" if path.startswith(("cleanup", "reverb")) else "")
        )
        theirs = [s for s in model["target_stem"].split("/") if s]
        old = kind in OLD or file.endswith(".th")
        gone = old and not re.fullmatch(r"[0-9a-f]{8,9}(-[0-9a-f]{8})?\.th|HTDemucs4.*", file)
        rows.append({
            "file": file,
            "type": "demucs" if old else kind,
            "theirs": None if old else theirs,
            "stems": theirs if old and theirs else (FACTS["demucs_stems"] if old else theirs),
            "task": task or None,
            "urls": [f"hf:baicai1145/pymss/{path}"],
            "config": None if old else {"urls": [f"hf:baicai1145/pymss/{model['config_relpath']}"]},
            "size": model["size_bytes"],
            "unavailable": FACTS["too_old"] if gone else "",
            "params": {"names": {"other": "other_rest"}} if old and "piano" in theirs else None,
            "lists": [label(lists, "pymss")],
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
