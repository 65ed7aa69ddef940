"""How the pages look: one sheet for all, light or dark as the reader's system has it, fit for a phone and for paper."""

__all__ = ["html_page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SHEET = """
:root { color-scheme: light dark; --text: #1d2126; --soft: #566069; --page: #fff; --panel: #f3f5f7; --line: #d5dbe1;
  --link: #0a58c2; --good: #1a7333; --bad: #b3141b; --limit: #c01c24;
  --s0: #1f6fb4; --s1: #c8580f; --s2: #2f8a3b; --s3: #8a4fb0; --s4: #7a7a12; --s5: #b02a5b }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #a3adb8; --page: #14181c; --panel: #1f252b;
  --line: #38414a; --link: #7db4f5; --good: #25803f; --bad: #c42b31; --limit: #ff7b7b;
  --s0: #58a6e8; --s1: #f0924e; --s2: #62c46e; --s3: #c08fe3; --s4: #cfcf5a; --s5: #f07ba8 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 68rem;
  margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .6rem }
h1 small { font-weight: 400; color: var(--soft); white-space: nowrap }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; padding-top: .9rem; border-top: 1px solid var(--line) }
p { max-width: 46rem; margin: .3rem 0 .8rem } section > p, .soft, figcaption { color: var(--soft) }
a { color: var(--link) }
.verdict { display: inline-block; padding: .15rem .7rem; border-radius: .35rem; color: #fff; background: var(--good);
  font-weight: 600; overflow-wrap: normal } .verdict.failed { background: var(--bad) }
.tiles { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.1rem 0 }
.tiles div { flex: 1 1 11rem; max-width: 22rem; background: var(--panel); border-radius: .4rem; padding: .6rem .8rem }
.tiles dt { color: var(--soft); font-size: .85rem } .tiles dd { margin: 0; font-size: 1.35rem; font-weight: 600 }
.tiles dd + dd { font-size: .85rem; font-weight: 400 }
pre { background: var(--panel); border-left: .3rem solid var(--bad); padding: .6rem .8rem; white-space: pre-wrap }
table { border-collapse: collapse; margin: .5rem 0 } .scroll { overflow-x: auto }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.scroll th, .scroll td { overflow-wrap: normal } .scroll td { white-space: nowrap }
.scroll .name, .scroll .text { white-space: normal; overflow-wrap: anywhere; min-width: 8rem }
.many { columns: 15rem; max-width: 52rem } .many .scroll { overflow: visible } .many .name { white-space: nowrap }
.many table { margin: 0 } .many tr { break-inside: avoid }
.wide { max-width: 86rem } .stacked { width: 100% } .stacked .name { min-width: 15rem }
.verdict, .version { white-space: nowrap }
thead th { vertical-align: bottom; color: var(--soft); font-weight: 600; font-size: .9rem }
th[scope=row] { font-weight: 600; white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
details > summary { cursor: pointer; color: var(--link); width: max-content }
figure { margin: .8rem 0 }
svg { display: block; width: 100%; max-width: 36rem; height: auto }
svg text { fill: var(--soft) }
.legend span { display: inline-block; margin-right: 1.1rem }
.legend i { display: inline-block; width: .8rem; height: .8rem;
  margin-right: .35rem; border-radius: .15rem }
.bars { display: grid; grid-template-columns: minmax(5rem, max-content) minmax(4rem, 22rem) max-content;
  gap: .2rem .7rem; align-items: center; margin: .8rem 0 } .bars b { grid-column: 1 / -1; margin-top: .3rem; width: 0;
  white-space: nowrap }
.bars .value { text-align: right; font-variant-numeric: tabular-nums } .bars .track { background: var(--panel) }
.bars .track i { display: block; height: 1.05rem; min-width: 2px } i { print-color-adjust: exact }
@media (max-width: 60rem) { .stacked thead { display: none } .stacked td:empty { display: none }
  .stacked tr { display: flex; flex-wrap: wrap; gap: .15rem 1.2rem; padding: .8rem 0;
    border-bottom: 1px solid var(--line) }
  .stacked td { flex-basis: 100%; border: 0; padding: 0; text-align: left } .stacked .number { flex-basis: auto }
  .stacked .number::before { content: attr(data-name) ": "; color: var(--soft) } }
@media (max-width: 32rem) { body { font-size: 15px } th, td { padding-right: .7rem } }
@media print { .verdict, .tiles div, pre { print-color-adjust: exact } h2 { break-after: avoid }
  figure, .bars, tr { break-inside: avoid }
  .scroll { overflow: visible } details::details-content { content-visibility: visible } }
"""


def html_page(title: str, body: str, wide: bool = False) -> str:
    """Return a page that needs nothing beside it: no script, no font, no picture. Title and body are HTML already."""
    kind = ' class="wide"' if wide else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_SHEET}</style>\n</head>\n<body{kind}>\n{body}\n</body>\n</html>\n"
    )
