"""The report: one page with nothing behind it, right in a browser with scripts and without."""
import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from audit_runs import METHODS, rewrite, train
from PIL import Image

from tinyq.__main__ import main
from tinyq.audit.replay.replay import Replayed
from tinyq.audit.replay.rerun import Source
from tinyq.audit.report import findings as report_module
from tinyq.audit.report.findings import make_report
from tinyq.audit.report.html_page import page
from tinyq.audit.report.numbers import number_or_none
from tinyq.audit.report.series import evenly
from tinyq.audit.step.step_check import Checked
from tinyq.errors import BadInput, Diverged
from tinyq.files.lock import locked

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        train(folder / method, method)
    return folder


@pytest.fixture(scope="module")
def written(runs):
    path = runs / "audit.html"
    assert main(["audit", "report", str(runs / "cbp"), "-o", str(path), "--points", "8", "--checks", "1"]) == 0
    return path


class Reader(HTMLParser):
    """Every tag closed, and what the page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href", "action")
                         and value != "data:," and not value.startswith("#")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_one_well_formed_page_with_nothing_to_fetch(method, runs):
    report = make_report(Source(runs / method, {}), points=5, checks=1)
    text = page(report)
    reader = Reader(text)
    assert reader.open == [] and reader.fetched == [] and len(text) < 5_000_000
    assert "url(" not in text and "@import" not in text and "fetch(" not in text
    assert all(check.passed for check in report.checks) and len(report.checks) >= 3
    assert f"replay {runs / method} --step 1 " in text


def test_the_series_are_those_of_every_tensor(written):
    text = written.read_text()
    for name in ("fc1.weight", "fc2.weight", "fc3.bias"):
        assert text.count(name) > 10
    for title in ("Norm of the gradient", "One tensor at a time", "Mean distance", "Occupancy",
                  "Norm of the update / norm of the weight",
                  "Cosine of true and surrogate", "Terms of the update", "changed their level"):
        assert title in text


def test_the_table_of_contents_leads_to_every_section(written):
    text = written.read_text()
    assert re.findall('<li><a href="#([^"]*)"', text) == re.findall('<section id="([^"]*)"', text) != []


def test_every_tensor_can_be_chosen_and_has_its_curves_without_a_script_too(written):
    text = written.read_text()
    names = [f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("bias", "weight")]
    options = re.findall("<option>([^<]*)</option>", text)
    assert sorted(options) == names
    assert re.findall("<summary>([^<]*)</summary>", text) == options
    for one in re.findall('<details class="tensor">.*?</details>', text, re.DOTALL):
        assert one.count("<polyline") >= 2


def test_the_top_says_what_held_and_when_and_where_it_was_found(written, runs):
    text = written.read_text()
    assert re.search(r'<p class="verdict passed">Held: no check found a fault.*measured again', text)
    assert re.search(r"This page was made on \d{4}-\d\d-\d\d at \d\d:\d\d UTC; the audit took ", text)
    assert "Training took" in text and "by the owner&#x27;s word" in text.replace("'", "&#x27;")
    assert "<th>on record</th><th>here</th>" in text and "differs" not in text
    figures = json.loads((runs / "cbp" / "result.json").read_text())
    for name in ("validation_accuracy", "test_accuracy_float", "test_accuracy"):
        assert f"<td>{figures[name]:.2%}</td>" in text
    assert "Measured again from the network and the data" in text


def test_another_machine_and_accuracies_that_were_not_measured_again_are_said(runs):
    report = make_report(Source(runs / "cbp", {}), points=2, checks=0)
    other = dataclasses.replace(report, here={**report.here, "machine": "another"},
                                checks=[check for check in report.checks if check.name != "final"])
    text = page(other)
    assert "<td>x86_64</td><td>another</td><td>differs</td>" in text.replace("aarch64", "x86_64")
    assert "They were NOT measured again" in text


def test_the_curves_mark_where_a_phase_begins(written):
    curves = re.search('<section id="curves">.*?</section>', written.read_text(), re.DOTALL)[0]
    assert curves.count("stroke-dasharray") == 4 and curves.count(">cbp</text>") == 2
    assert curves.count("<polyline") == 4                   # loss and accuracy, of training and validation


def test_the_heat_map_has_a_scale(written):
    scale = re.search('<p class="scale"><span>([^<]*)</span>(.*)<span>([^<]*)</span></p>', written.read_text())
    assert float(scale[1]) < float(scale[3]) and scale[2].count("<i ") == 7


def broken(runs, folder, number):
    """A copy of a run whose ledger was changed at this line, from 1."""
    run = shutil.copytree(runs / "cbp", folder / "run")
    lines = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace('"w":"', '"w":"0') if number > 1 else "{" + lines[0]
    (run / "ledger.jsonl").write_text("".join(lines))
    return run


def test_a_broken_chain_has_a_page_that_names_the_place_and_shows_what_comes_before(runs, tmp_path, capsys):
    run = broken(runs, tmp_path, 20)
    assert main(["audit", "report", str(run), "-o", str(tmp_path / "a.html"), "--checks", "0", "--points", "4"]) == 76
    assert "line 21 does not follow line 20" in capsys.readouterr().err
    text = (tmp_path / "a.html").read_text()
    verdict = re.search('<p class="verdict failed">.*?</p>', text)[0]
    for words in ("Did not hold", "line 21 does not follow line 20", "the 20 lines before that place"):
        assert words in verdict
    assert "replay of the steps before the break" in text and "Norm of the gradient" in text and "<polyline" in text
    assert "Head of the last line that can be read" in text and "<h2>Figures" not in text


@pytest.mark.parametrize("content", [b"", b"\xff\n", b'{"prev":"0"}\n', b'{"prev":"1","record":"begin"}\n'])
def test_a_ledger_of_which_no_line_can_be_read_has_a_page_too(content, runs, tmp_path, capsys):
    run = shutil.copytree(runs / "cbp", tmp_path / "run")
    (run / "ledger.jsonl").write_bytes(content)
    assert main(["audit", "report", str(run), "-o", str(tmp_path / "a.html")]) == 76
    text = (tmp_path / "a.html").read_text()
    assert "Did not hold" in text and "No line of the ledger can be read." in text and "<svg" not in text
    assert "ledger.jsonl" in capsys.readouterr().err


def test_a_folder_without_a_ledger_has_no_page(tmp_path, capsys):
    assert main(["audit", "report", str(tmp_path), "-o", str(tmp_path / "a.html")]) == 65
    assert "no ledger.jsonl here" in capsys.readouterr().err and not (tmp_path / "a.html").exists()


def test_what_could_not_be_done_is_no_agreement(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report_module, "replay", raising(BadInput("the data are not here; give --data-path")))
    arguments = ["audit", "report", str(runs / "cbp"), "-o", str(tmp_path / "a.html"), "--checks", "0"]
    assert main(arguments) == 65
    text = (tmp_path / "a.html").read_text()
    assert "Not decided. Could not be done: replay: the data are not here" in text and ">not done</td>" in text
    assert "replay: not done: the data" in capsys.readouterr().out


def test_a_foreign_record_that_cannot_be_compared_is_a_fault_and_no_internal_error(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report_module, "replay", raising(KeyError("ops_of")))
    arguments = ["audit", "report", str(runs / "cbp"), "-o", str(tmp_path / "a.html"), "--checks", "0"]
    assert main(arguments) == 76
    assert "replay failed: cannot be compared (KeyError: 'ops_of')" in capsys.readouterr().err


def test_steps_that_were_not_compared_are_a_fault(runs, monkeypatch):
    monkeypatch.setattr(report_module, "replay", lambda *rest, **named: Replayed(2, 2, 0, 0, 0))
    report = make_report(Source(runs / "cbp", {}), points=2, checks=0)
    found = {check.name: check for check in report.checks}
    assert found["replay"].outcome == "FAILED" and "2 of " in found["replay"].details


def test_the_report_of_a_working_run_is_refused(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "cbp", tmp_path / "run")
    with locked(run):
        assert main(["audit", "report", str(run), "-o", str(tmp_path / "a.html")]) == 75
    assert "a run is working in this folder" in capsys.readouterr().err and not (tmp_path / "a.html").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"seconds": "<b>"}', '{"seconds": 1e999}', "[" * 9999])
def test_a_foreign_result_has_no_duration(text, runs, tmp_path):
    run = shutil.copytree(runs / "cbp", tmp_path / "run")
    (run / "result.json").write_text(text)
    found = page(dataclasses.replace(make_report(Source(run, {}), points=2, checks=0)))
    assert "Training took" not in found and "Did not hold" in found


@pytest.mark.parametrize("value", ["0x1.8p+200", "<b>", "0xzz", [], {}, None, True, 1e31, "nan", "0x1p99999", 10**400])
def test_what_is_no_number_is_not_drawn(value):
    assert number_or_none(value) is None


def test_foreign_epochs_are_drawn_as_far_as_they_are_numbers(runs, tmp_path):
    run = shutil.copytree(runs / "cbp", tmp_path / "run")

    def change(records):
        for record in records:
            if record["record"] == "epoch":
                record["measured"] = {"loss": "<script>", "accuracy": "0x1p-1"}
            if record["record"] == "begin":
                record["environment"] = {"packages": "<script>", "tinyq": ["<b>"]}

    rewrite(run, change)
    text = page(make_report(Source(run, {}), points=2, checks=0))
    assert "0 throughout" in text and "<b>" not in text and text.count("<script>") == 1


def test_of_a_run_of_many_epochs_some_are_drawn(runs):
    report = make_report(Source(runs / "backprop", {}), points=2, checks=0)
    report.history.epochs[:] = [{"epoch": i, "measured": {"loss": "0x1p-1"}} for i in range(5000)]
    curve = re.search('<polyline points="([^"]*)"', page(report))[1]
    assert len(curve.split()) == 500


@pytest.mark.parametrize("seconds, words", [(3.2, "3 s"), (600, "10 min"), (9000, "2.5 h")])
def test_a_duration_is_short(seconds, words, runs):
    report = make_report(Source(runs / "backprop", {}), points=2, checks=0)
    assert f"the audit took {words}." in page(dataclasses.replace(report, seconds=seconds))


def test_of_many_tensors_the_heat_map_shows_the_first_and_says_so(runs):
    report = make_report(Source(runs / "cbp", {}), points=2, checks=0)
    many = {f"a{i}": 1.0 for i in range(70)}
    points = [dataclasses.replace(point, gradient=many, ratio=many) for point in report.points]
    assert "The first 64 of 70 tensors are shown" in page(dataclasses.replace(report, points=points))


def raising(error):
    """A function that raises this error."""
    def raise_it(*rest, **named):
        raise error
    return raise_it


def test_a_failed_check_is_shown_and_ends_the_command_with_76(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "cbp", tmp_path / "run")
    data = bytearray((run / "model.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "model.h5").write_bytes(bytes(data))
    assert main(["audit", "report", str(run), "-o", str(tmp_path / "a.html"), "--points", "3", "--checks", "0"]) == 76
    assert "FAILED" in (tmp_path / "a.html").read_text() and "model.h5" in capsys.readouterr().err


def test_what_was_found_while_training_is_among_the_checks(runs, tmp_path):
    with pytest.raises(Diverged):
        train(tmp_path / "run", "backprop", lr=1e30, audit_every=1)
    report = make_report(Source(tmp_path / "run", {}), points=2, checks=0)
    found = {check.name: check for check in report.checks}
    assert not found["step 2"].passed
    assert "checks while training: 1 on record, none found a fault" in found["verify"].details
    assert "the loss" in found["step 2"].details or "not finite" in found["step 2"].details
    assert page(report).count("FAILED") == sum(not check.passed for check in report.checks)


def test_the_faults_of_a_check_are_its_details(runs, monkeypatch):
    monkeypatch.setattr(report_module, "check", lambda captured, streams: Checked(1, faults=["this", "that"]))
    report = make_report(Source(runs / "backprop", {}), points=2, checks=1)
    assert [(c.passed, c.details) for c in report.checks if c.name.startswith("check of")] == [(False, "this\nthat")]
    assert "<td>this<br>that</td>" in page(report)


def test_a_run_without_a_step_has_a_page_too(runs, tmp_path):
    run = shutil.copytree(runs / "cbp", tmp_path / "run")
    rewrite(run, lambda records: records.__delitem__(slice(2, None)))
    text = page(make_report(Source(run, {}), points=2, checks=0))
    assert "0 steps, 2 records" in text and "<svg" not in text and "Terms of the update" not in text


def test_what_never_moved_is_said_to_be_0_and_one_point_is_no_curve(runs):
    report = make_report(Source(runs / "cbp", {}), points=2, checks=0)
    still = [dataclasses.replace(point, ratio=dict.fromkeys(point.ratio, 0.0)) for point in report.points[:1]]
    assert "<p>0 throughout</p>" in page(dataclasses.replace(report, points=still))


def test_of_many_tensors_the_constrained_ones_are_shown(runs):
    report = make_report(Source(runs / "cbp", {}), points=4, checks=0)
    renamed = [dataclasses.replace(point, **{
        figure: {**{f"a{i}": 1.0 for i in range(9)}, **getattr(point, figure)} for figure in ("gradient", "ratio")})
        for point in report.points]
    text = page(dataclasses.replace(report, points=renamed))
    key = re.search(r"Norm of the gradient</h3>.*?<p class=\"key\">(.*?)</p>", text, re.DOTALL)[1]
    assert re.findall(r"</i>([^<]+)<", key) == ["fc2.weight", "a0", "a1", "a2", "a3", "a4"]
    assert "(6 of 15 tensors, constrained ones first)" in key


def test_an_update_of_a_weight_of_0_has_no_ratio(tmp_path):
    train(tmp_path / "run", "backprop", model="digits_cnn", data="digits", max_steps=2)
    report = make_report(Source(tmp_path / "run", {}), points=2, checks=0)
    assert report.points[0].ratio["bn1.bias"] is None and report.points[1].ratio["bn1.bias"] > 0
    assert "bn1.bias, step 1\nthe weight was 0, gradient" in page(report)


@pytest.mark.parametrize("line", ["--points 1", "--checks -1"])
def test_too_few_points_are_a_usage_error(line, runs, capsys):
    assert main(["audit", "report", str(runs / "cbp"), *line.split()]) == 2
    assert "--points must be at least 2" in capsys.readouterr().err


def test_what_a_run_is_called_is_text_and_no_markup(runs, tmp_path):
    run = shutil.copytree(runs / "backprop", tmp_path / "<script>alert(1)<")
    text = page(make_report(Source(run, {}), points=2, checks=0))
    assert "<script>alert" not in text and text.count("<script>") == 1


def test_the_browser_runs_the_pages_own_script_alone(runs):
    """Even where a value were to be forgotten: the policy names the SHA-256 of the script."""
    text = page(make_report(Source(runs / "backprop", {}), points=2, checks=0))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    script = re.search("<script>(.*)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_foreign_script_in_the_page_does_not_run(runs, tmp_path):
    text = page(make_report(Source(runs / "backprop", {}), points=2, checks=0))
    evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    (tmp_path / "evil.html").write_text(text.replace("<h2>Checks</h2>", evil))
    assert "<title>Audit of" in chromium("--dump-dom", (tmp_path / "evil.html").as_uri()).stdout


def test_steps_are_spread_evenly():
    assert evenly([3, 4, 5], 8) == [3, 4, 5]
    assert evenly(list(range(1, 101)), 4) == [1, 34, 67, 100]


def chromium(*flags):
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_it_without_a_complaint(written):
    shown = chromium("--dump-dom", written.as_uri())
    assert "CONSOLE" not in shown.stderr
    rows = re.findall(r'<td class="result passed">passed</td>', shown.stdout)
    assert len(rows) == 4 and "<h2>Checks</h2>" in shown.stdout and shown.stdout.count("<svg") >= 5


def screenshot(page, path):
    """The page's picture; on a busy machine the browser may take it before it has painted all: two must be equal."""
    before = None
    for _ in range(8):
        chromium(f"--screenshot={path}", "--window-size=1100,1500", "--hide-scrollbars", "--virtual-time-budget=4000",
                 page.as_uri())
        picture = np.asarray(Image.open(path).convert("L"))
        if picture.min() < picture.max() and before is not None and np.array_equal(before, picture):
            break
        before = picture
    return picture


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_it_looks_the_same_with_scripts_off(written, tmp_path):
    pictures = []
    for scripts in ("allow-scripts", ""):
        frame, path = tmp_path / f"frame{scripts}.html", tmp_path / f"frame{scripts}.png"
        frame.write_text(f'<body style="margin:0"><iframe sandbox="{scripts}" src="{written.as_uri()}" width="1100" '
                         'height="1500" style="border:0"></iframe>')
        pictures.append(screenshot(frame, path))
    assert np.array_equal(*pictures) and (pictures[0] < 100).mean() > 0.01          # and there is something to see


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_no_wider_than_a_screen(width, written, tmp_path):
    path = tmp_path / "phone.html"
    page = html.escape(written.read_text())
    path.write_text(f'<body><iframe width="{width}" height="844" style="border:0" srcdoc="{page}">'
                    "</iframe><script>onload = function () { document.title = 'wide: ' + "
                    "document.querySelector('iframe').contentDocument.documentElement.scrollWidth; };</script>")
    assert f"<title>wide: {width}</title>" in chromium("--dump-dom", "--hide-scrollbars", "--window-size=1400,900",
                                                         path.as_uri()).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_script_shows_the_chosen_tensor_alone(written):
    shown = chromium("--dump-dom", written.as_uri()).stdout
    assert re.findall('<details class="tensor"([^>]*)>', shown) == [' open=""'] + [' hidden=""'] * 5
    assert '<p class="choose">' in shown


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_browser_test_would_notice_a_console_error(tmp_path):
    (tmp_path / "bad.html").write_text("<script>nothing.there()</script>")
    assert "CONSOLE" in chromium("--dump-dom", (tmp_path / "bad.html").as_uri()).stderr
