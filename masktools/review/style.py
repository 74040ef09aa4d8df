"""How a page looks: on a phone and on a desk, in the light and in the dark."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --ink: #1d2229; --soft: #5b6470; --line: #d9dbd7; --card: #fff;
  --mark: #e4f3f7; --key: #0b6b82; --on-key: #fff; --seen: #6ee7ff; --strip: 9.5rem }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e3e7ed; --soft: #9aa4b1; --line: #313843;
  --card: #1b1f26; --mark: #17333b; --key: #6ee7ff; --on-key: #0d1a1e } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 2.2rem 0 .3rem }
h3 { font-size: 1rem; margin: 0 0 .6rem } p { margin: .4rem 0 .9rem } .soft { color: var(--soft); font-size: .9rem }
a { color: var(--key) } ul { padding-left: 1.1rem } li { margin: .3rem 0 }
kbd { border: 1px solid var(--line); border-radius: 4px; padding: 0 .35em; font: inherit; font-size: .85em }
section.scene { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
  margin: 1rem 0 }
.versions { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: .7rem;
  margin-bottom: .9rem }
figure { margin: 0 } figcaption { font-size: .9rem; margin-bottom: .25rem }
audio { display: block; width: 100%; height: 2.4rem } img { display: block; width: 100%; height: auto }
.scene > img { border-radius: 6px }
button { font: inherit; font-size: .9rem; color: var(--ink); background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; padding: .3rem .7rem; cursor: pointer; min-height: 2.2rem; touch-action: manipulation }
button:hover { border-color: var(--key) } button:focus-visible, .sheet:focus-visible { outline: 3px solid var(--key);
  outline-offset: 1px }
button[aria-pressed=true] { background: var(--key); border-color: var(--key); color: var(--on-key) }
.ours figcaption { color: var(--key); font-weight: 600 } figcaption .soft { font-weight: 400 }
figure .number { opacity: .7; margin-right: .2em }
figure.now audio { outline: 2px solid var(--key); border-radius: 1.3rem }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; position: sticky; bottom: 0; z-index: 2;
  background: var(--card); border-top: 1px solid var(--line); margin: .7rem -1rem -1rem; padding: .6rem 1rem;
  border-radius: 0 0 10px 10px }
.bar .clock { font-variant-numeric: tabular-nums; margin-left: auto } .bar .play { min-width: 5.2em; font-weight: 600 }
.facts { list-style: none; padding: 0 } .facts li { margin: 0 }
.shown { display: grid; grid-template-columns: 2.9rem minmax(0, 1fr); margin-bottom: .6rem }
.strip, .heights { height: var(--strip); position: relative; margin-bottom: 3px; overflow: clip }
.heights span { position: absolute; right: .4rem; transform: translateY(50%); font-size: .72rem; color: var(--soft) }
.roll { overflow-x: auto; border-radius: 6px } .sheet { position: relative; cursor: crosshair; width: 100% }
.strip { background: #0b0c10 } .strip img { height: 100%; width: 100% }
.strip .name { position: sticky; left: 0; display: inline-block; white-space: nowrap; z-index: 1;
  padding: .1rem .5rem; font-size: .78rem;
  color: #eef2f6; background: #0b0c10b8; border-radius: 0 0 6px 0; pointer-events: none }
.strip img { position: absolute; inset: 0 } .span { position: absolute; pointer-events: none; min-width: 2px;
  border: 1px dashed var(--seen); border-width: 0 1px; top: 0; bottom: 0 }
.span.band { border-width: 1px } .cut { position: absolute; left: 0; right: 0; border-top: 1px dashed var(--seen);
  pointer-events: none }
.looped { position: absolute; top: 0; bottom: 1.3rem; background: #fff2; border: 1px solid #fff9; border-width: 0 1px;
  pointer-events: none } .cursor { position: absolute; top: 0; bottom: 1.3rem; width: 2px; margin-left: -1px; left: 0;
  background: #fff; box-shadow: 0 0 0 1px #000a; pointer-events: none }
.times { position: relative; height: 1.3rem } .times span { position: absolute; transform: translateX(-50%);
  font-size: .72rem; color: var(--soft); white-space: nowrap } .times span.first { transform: none }
.times span.last { transform: translateX(-100%) }
.keys { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; font-size: .78rem; color: var(--soft) }
.keys i { display: inline-block; width: 8rem; height: .7rem; border-radius: 3px; vertical-align: middle;
  margin: 0 .4rem }
.wide { overflow-x: auto; margin-bottom: .8rem } table { border-collapse: collapse; width: 100%; font-size: .88rem }
caption { text-align: left; font-weight: 600; padding: .3rem 0 } tr.ours { background: var(--mark) }
th, td { text-align: right; padding: .25rem .55rem; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-variant-numeric: tabular-nums } th:first-child, td:first-child { text-align: left }
td.word, th.word { text-align: left } td button { min-height: 1.9rem; padding: .1rem .6rem; margin-right: .3rem }
table.few { width: auto; min-width: min(34rem, 100%) } .overview { min-width: 46rem; border-radius: 6px }
@media (max-width: 40rem) { :root { --strip: 7rem } body { padding: .6rem .5rem 3rem } section.scene { padding: .6rem }
  .shown { grid-template-columns: 2.2rem minmax(0, 1fr) } .heights span { right: .2rem; font-size: .66rem }
  .bar { margin: .6rem -.6rem -.6rem; padding: .5rem .6rem }
  .few td:first-child { white-space: normal; min-width: 9rem }
  .bar .word { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }
  .bar { gap: .3rem } .bar button { padding: .3rem .5rem; min-width: 2.2rem } .bar .play { min-width: 4.2em }
  .bar .clock { font-size: .85rem } }
"""
