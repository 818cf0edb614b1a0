"""The report: one page with nothing behind it, right in a browser with scripts and without."""
import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from audit_runs import METHODS, rewrite, train
from PIL import Image

from tinyq.__main__ import main
from tinyq.audit.replay.rerun import Source
from tinyq.audit.report import findings as report_module
from tinyq.audit.report.findings import make_report
from tinyq.audit.report.html_page import page
from tinyq.audit.report.series import evenly
from tinyq.audit.step.step_check import Checked
from tinyq.errors import Diverged

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
        self.fetched += [value for name, value in attributes if name in ("src", "href", "action") and value != "data:,"]
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
    for title in ("Norm of the gradient", "Norm of the update / norm of the weight", "Mean distance", "Occupancy",
                  "Cosine of true and surrogate", "Terms of the update", "changed their level"):
        assert title in text


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
    key = re.search(r"Norm of the gradient</h2>.*?<p class=\"key\">(.*?)</p>", text, re.DOTALL)[1]
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
    rows = re.findall(r'<td class="passed">passed</td>', shown.stdout)
    assert len(rows) == 4 and "<h2>Checks</h2>" in shown.stdout and shown.stdout.count("<svg") >= 5


def screenshot(page, path):
    """The page's picture; on a busy machine the browser may take it before it has painted anything."""
    for _ in range(5):
        chromium(f"--screenshot={path}", "--window-size=1100,1500", "--hide-scrollbars", "--virtual-time-budget=4000",
                 page.as_uri())
        picture = np.asarray(Image.open(path).convert("L"))
        if picture.min() < picture.max():
            break
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
def test_the_browser_test_would_notice_a_console_error(tmp_path):
    (tmp_path / "bad.html").write_text("<script>nothing.there()</script>")
    assert "CONSOLE" in chromium("--dump-dom", (tmp_path / "bad.html").as_uri()).stderr
