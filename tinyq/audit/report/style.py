"""The page's style sheet and script; the browser runs this script alone, and loads nothing."""
import base64
import hashlib

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1.2rem; color: #1c2430;
       background: #fff; overflow-wrap: break-word }
h1 { font-size: 1.5rem; margin: .4rem 0 } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #d8dde4 }
h3 { font-size: 1rem; margin: 0 }
.verdict { font-size: 1.15rem; font-weight: 600; padding: .8rem 1rem; border-left: 6px solid; margin: .8rem 0 }
.verdict span { display: block; font-size: .95rem; font-weight: 400; color: #1c2430; margin-top: .3rem }
.verdict.passed { background: #eaf6ee } .verdict.failed { background: #fcebea } .verdict.undone { background: #fff6e0 }
.passed { color: #17703c } .failed { color: #b3261e } .undone { color: #855800 }
.result { font-weight: 600; white-space: nowrap }
nav ul { padding: 0; margin: .8rem 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none }
a { color: #1f5fa0 }
table { border-collapse: collapse } td, th { padding: .25rem .6rem; text-align: left; vertical-align: top }
.checks td, .checks th, .parts td, .parts th { border-bottom: 1px solid #e4e8ee }
.checks td:last-child, .words td, code { overflow-wrap: anywhere }
.words td:first-child, .words td:last-child { overflow-wrap: normal }
.numbers td, .numbers th { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.numbers td:first-child, .numbers th:first-child { text-align: left }
.cells td { padding: 0; min-width: 20px; height: 18px; border: 1px solid #fff; cursor: pointer }
.cells th { font-weight: 400; font-size: 12px; padding: 0 .5rem 0 0; white-space: nowrap }
.cells th[colspan] { max-width: 0; padding: 0; overflow-wrap: normal }
.scale { display: flex; align-items: center } .scale i { flex: 0 1 44px; height: 14px }
.scale span { margin: 0 .5rem; white-space: nowrap }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1.2rem 1.6rem }
figure { margin: 0; min-width: 0 } svg { display: block; width: 100%; height: auto }
.scroll { overflow-x: auto } code, pre { font: 13px ui-monospace, monospace; background: #f3f5f8 }
pre { padding: .7rem; overflow-x: auto; overflow-wrap: normal } .note { color: #5b6675; font-size: 13px }
.key { margin: .2rem 0; font-size: 13px } .key span { display: inline-block; margin-right: 1rem }
.key i { display: inline-block; width: 12px; height: 12px; margin-right: .3rem; vertical-align: -1px }
summary { cursor: pointer; padding: .2rem 0 } select { font: inherit; max-width: 100%; padding: .3rem }
@media (max-width: 640px) {
  body { padding: .8rem } svg text { font-size: 14px }
  .checks thead { display: none } .checks tr { display: block; border-bottom: 1px solid #e4e8ee; padding: .4rem 0 }
  .checks td { display: block; border: 0; padding: .1rem 0 } .checks td:first-child { font-weight: 600 }
  td, th { padding: .2rem .4rem } nav ul { display: block; columns: 2 } nav li { padding: .2rem 0 }
}
@media print {
  @page { margin: 14mm } body { max-width: none; padding: 0; font-size: 10pt } nav, .choose, .clicked { display: none }
  section, figure, tr, .verdict { break-inside: avoid } h2, h3 { break-after: avoid }
  .scroll { overflow: visible } .cells { width: 100%; table-layout: fixed }
  .cells td { min-width: 0; height: 10px } .cells th { font-size: 7pt } .cells th[scope] { width: 28% }
  .charts { grid-template-columns: 1fr 1fr } svg text { font-size: 14px } pre { white-space: pre-wrap; font-size: 8pt }
  .cells td, .scale i, .key i, .verdict { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""
# Without it, each tensor is a <details> that opens by itself.
SCRIPT = """
document.querySelectorAll('.cells td').forEach(function (cell) {
  cell.addEventListener('click', function () {
    document.getElementById('command').textContent = cell.title.split('\\n').pop();
  });
});
var choice = document.getElementById('tensor'), tensors = document.querySelectorAll('details.tensor');
function show() {
  tensors.forEach(function (one, i) { one.open = i === choice.selectedIndex; one.hidden = !one.open; });
}
if (choice) {
  document.querySelector('.choose').hidden = false;
  choice.addEventListener('change', show);
  show();
}
"""
SCRIPT_SHA256 = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{SCRIPT_SHA256}'; "
          "base-uri 'none'; form-action 'none'")
