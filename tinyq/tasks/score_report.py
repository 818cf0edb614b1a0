"""The scores of a network as `tinyq.evaluate` reports them, in JSON and in lines."""
from collections.abc import Sequence

from tinyq.tasks.scores import ClassScores, LabelScores, NumberScores, Scores
from tinyq.tasks.task import figure_text

WORST = 5                               # number of worst classes or labels printed


def report_of(scores: Scores, names: Sequence[str]) -> dict:
    """Return the figures of a report; names: of classes, numbers or labels."""
    match scores:
        case NumberScores():
            each = zip(names, scores.squared_errors.tolist(), scores.r2s.tolist(), strict=True)
            return {"n": scores.samples, **scores.recorded,
                    "per_number": {name: {"mean_squared_error": error, "r2": r2} for name, error, r2 in each}}
        case LabelScores():
            figures = scores.figures
            rows = zip(names, figures["label_accuracy"], scores.average_precisions, strict=True)
            return {"n": scores.samples, "loss": scores.loss, "accuracy": figures["accuracy"],
                    "mean_average_precision": figures["mean_average_precision"],
                    "per_label": {name: {"accuracy": accuracy, "average_precision": precision}
                                  for name, accuracy, precision in rows}}
    assert isinstance(scores, ClassScores)
    counts = zip(names, scores.correct.tolist(), scores.confusion.sum(axis=1).tolist(), strict=True)
    per_class = {name: right / held for name, right, held in counts if held}
    return {"n": scores.samples, "top1": scores.accuracy, "top5": scores.top5_accuracy, "loss": scores.loss,
            "worst_class": min(per_class, key=per_class.__getitem__), "per_class": per_class}


def lines_of(report: dict) -> list[str]:
    """Return the lines of a report; its loss is None where it is not known."""
    lines = _class_lines(report) if "per_class" in report else _label_lines(report) if "per_label" in report else [
        f"MSE          {report['mean_squared_error']:.4g}   n = {report['n']:,}",
        f"R2           {report['r2']:.4f}", *_number_lines(report["per_number"])]
    return lines + ([] if report["loss"] is None else [f"loss         {report['loss']:.4f}"])


def _class_lines(report):
    wrong = report["n"] - round(report["top1"] * report["n"])
    lines = [f"top-1        {report['top1']:.2%}   n = {report['n']:,}, {wrong:,} wrong"]
    if report["top5"] is not None:
        lines.append(f"top-5        {report['top5']:.2%}")
    worst = sorted(report["per_class"].items(), key=lambda item: item[1])[:WORST]
    return [*lines, "worst        " + ", ".join(f"{name} {share:.2%}" for name, share in worst)]


def _number_lines(per_number):
    if len(per_number) < 2:
        return []
    worst = sorted(per_number.items(), key=lambda item: item[1]["r2"])[:WORST]
    return ["worst        " + ", ".join(f"{name} R2 {one['r2']:.4f}" for name, one in worst)]


def _label_lines(report):
    lines = [f"mAP          {report['mean_average_precision']:.2%}   n = {report['n']:,}",
             f"accuracy     {report['accuracy']:.2%}   of all decisions, one per sample and label"]
    worst = sorted(report["per_label"].items(), key=lambda item: item[1]["accuracy"])[:WORST]
    return [*lines, "worst        " + ", ".join(
        f"{name} {one['accuracy']:.2%} (average precision {figure_text('accuracy', one['average_precision'])})"
        for name, one in worst)]
