"""The look of a report's page: light, dark where the reader asks for it, and fit to print."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --faint: #5b6675;
  --rule: #dde2e8; --soft: #f4f6f8; --kept: #0b7a6b; --refused: #b4490c; --other: #6b7684;
  --base: #9db4cf; --mark: #e6f4f1; --drop: #e3c9b8; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e5e9ee; --faint: #9aa5b3;
  --rule: #2d353f; --soft: #1c2229; --kept: #3fbfa9; --refused: #f0975a; --other: #8f9baa;
  --base: #5a7594; --mark: #17352f; --drop: #6d4a36; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -0.01em; }
header p { margin: 2px 0 20px; color: var(--faint); }
h2 { margin: 44px 0 12px; font-size: 1.3rem; }
p { max-width: 80ch; overflow-wrap: anywhere; }
.verdict { padding: 18px 22px 8px; background: var(--soft); border-left: 4px solid var(--kept);
  border-radius: 6px; }
.verdict h2 { margin: 0 0 8px; }
.verdict ul { display: flex; flex-wrap: wrap; gap: 8px 24px; margin: 0; padding: 0;
  list-style: none; font-weight: 600; }
.badge { display: inline-block; padding: 0 9px; border: 1px solid currentColor;
  border-radius: 10px; white-space: nowrap; font-size: 0.8rem; font-weight: 600; line-height: 1.5; }
.badge.kept, .badge.shipped { color: var(--kept); }
.badge.refused { color: var(--refused); border-style: dashed; }
.table { overflow-x: auto; margin: 14px 0 22px; }
table { width: 100%; border-collapse: collapse; font-size: 0.86rem; line-height: 1.4; }
caption { padding: 0 0 8px; text-align: left; font-weight: 600; font-size: 0.92rem; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
th { color: var(--faint); font-weight: 600; border-bottom-width: 2px; vertical-align: bottom; }
th:first-child, td:first-child { padding-left: 8px; }
td.long { overflow-wrap: anywhere; min-width: 16em; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
tr.marked td { background: var(--mark); font-weight: 600; }
figure { margin: 18px 0 26px; }
figure.small { display: inline-block; width: 32%; min-width: 240px; margin: 8px 0.6% 12px; }
figcaption { margin-bottom: 6px; font-weight: 600; font-size: 0.92rem; }
svg { display: block; width: 100%; height: auto; font-size: 13px; }
svg text { fill: var(--ink); }
svg .group { font-weight: 700; }
svg .tick { fill: var(--faint); font-size: 12px; }
svg .figure { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--rule); }
svg .zero { stroke: var(--faint); stroke-width: 1.5; }
svg .stroke { stroke-width: 2.5; }
svg .stroke.kept { stroke: var(--kept); } svg .stroke.refused { stroke: var(--refused); }
svg .stroke.other { stroke: var(--other); }
svg .dot { fill: var(--other); }
svg .dot.kept, svg .dot.tuned { fill: var(--kept); }
svg .dot.refused { fill: var(--paper); stroke: var(--refused); stroke-width: 2.5; }
svg .bar { fill: var(--other); } svg .bar.tuned { fill: var(--kept); }
svg .bar.base { fill: var(--base); } svg .bar.dropped { fill: var(--drop); }
svg .curve { fill: none; stroke: var(--kept); stroke-width: 2; stroke-linejoin: round; }
svg .curve.base { stroke: var(--other); stroke-dasharray: 5 4; }
@media (max-width: 640px) { figure { overflow-x: auto; } figure svg { min-width: 640px; }
  figure.small { width: 100%; } figure.small svg { min-width: 0; } }
@media print { body { font-size: 11pt; } main { max-width: none; padding: 0; }
  .table { overflow: visible; } figure, tr, .verdict { break-inside: avoid; }
  h2, caption, figcaption { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
@media print and (prefers-color-scheme: dark) { :root { --paper: #fff; --ink: #1c2430;
  --faint: #5b6675; --rule: #dde2e8; --soft: #f4f6f8; --kept: #0b7a6b; --refused: #b4490c;
  --other: #6b7684; --base: #9db4cf; --mark: #e6f4f1; --drop: #e3c9b8; } }
"""
