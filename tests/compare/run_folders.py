"""Folders that describe runs, without training any."""
import json

FIGURES = {"steps": 40, "ended_by": "epochs", "test_accuracy": 0.9, "test_accuracy_float": 0.95, "bytes_packed": 100,
           "seconds": 2.5}


def toml(values):
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def run_folder(folder, settings=None, epochs=4, pretrain=2, result=None, scale=1.0):
    """Make a folder with `epochs` records of epochs, of which `pretrain` are of the float phase."""
    folder.mkdir(parents=True)
    settings = {"model": "lenet", "data": "mnist", "method": "cbp", "levels": "ternary", "seed": 0, **(settings or {})}
    (folder / "config.toml").write_text(toml(settings) + f"output = {json.dumps(str(folder))}\n")
    records = [{"record": "epoch", "phase": "float" if i < pretrain else settings["method"], "epoch": i + 1,
                "step": 10 * (i + 1), "loss": scale / (i + 1), "error": 0.3 * scale / (i + 1),
                "validation_loss": 1.1 * scale / (i + 1), "validation_error": 0.2 * scale / (i + 1), "seconds": i + 1.0}
               for i in range(epochs)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if result is not False:
        (folder / "result.json").write_text(json.dumps({**FIGURES, **(result or {})}))
    return folder
