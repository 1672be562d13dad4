"""From a plan to a report: the stages one after another, with files between them."""

from harness.pipeline.choosing import kept_products, select_again, worth_of_blends
from harness.pipeline.doing import FIRST, Outcome, run, score_folder
from harness.pipeline.writing import check_audio, export_museval, import_scores, write_report
from harness.ranking import may_choose

__all__ = [
    "FIRST",
    "Outcome",
    "check_audio",
    "export_museval",
    "import_scores",
    "kept_products",
    "may_choose",
    "run",
    "score_folder",
    "select_again",
    "worth_of_blends",
    "write_report",
]
