/** The style sheet of a page. Colours of series keep their distance for eyes that see red and green alike, on light and on dark ground. */
export const STYLE = `
:root{color-scheme:light dark;--ground:#fff;--text:#1b1b1a;--soft:#62615c;--rule:#e4e3df;--panel:#f7f6f3;--warn:#fff3d6;
--c0:#2a78d6;--c1:#eb6834;--c2:#1baf7a;--c3:#b87d00;--c4:#d9588f;--c5:#4a3aa7;--c6:#008300;--c7:#e34948}
@media (prefers-color-scheme:dark){:root{--ground:#191918;--text:#eceae4;--soft:#a3a29a;--rule:#383733;--panel:#232321;--warn:#43360f;
--c0:#5a9ff0;--c1:#e8743b;--c2:#2bb585;--c3:#d19a1f;--c4:#e2709c;--c5:#9d93f0;--c6:#3fa63f;--c7:#f07f7f}}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:76rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.2rem 0 .8rem;padding-top:.6rem;border-top:1px solid var(--rule)}
header p{color:var(--soft);margin:.4rem 0 1.2rem}
p{max-width:48rem}
.warning{background:var(--warn);border-radius:6px;padding:.5rem .8rem;max-width:none}
.note{color:var(--soft);font-size:.85rem;margin:.3rem 0 0}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1.6rem 2rem}
.columns>*{min-width:0}
figure{margin:0 0 1rem}
figcaption{font-size:.9rem}
figcaption span{color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;list-style:none;margin:.2rem 0 .1rem;padding:0;font-size:.85rem;overflow-wrap:anywhere}
.legend i{display:inline-block;width:.9em;height:3px;border-radius:2px;background:var(--c);vertical-align:.25em;margin-right:.4em}
.legend span{color:var(--soft);font-variant-numeric:tabular-nums}
.plot{display:grid;grid-template-columns:4.2rem 1fr;grid-template-rows:15rem 1.5rem auto;font-size:.75rem;color:var(--soft);margin-top:.5rem;font-variant-numeric:tabular-nums}
.yticks,.xticks,.area{position:relative}
.yticks span{position:absolute;right:.5rem;transform:translateY(50%);white-space:nowrap}
.xticks{grid-column:2}
.xticks span{position:absolute;top:.25rem;transform:translateX(-50%);white-space:nowrap}
.xlabel{grid-column:2;text-align:center}
.area{border-left:1px solid var(--rule);border-bottom:1px solid var(--soft);touch-action:pan-y}
svg{display:block;width:100%;height:100%;overflow:visible}
svg path{vector-effect:non-scaling-stroke;fill:none}
.rule{stroke:var(--rule);stroke-width:1}
.line{stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
svg .band{fill:var(--c);fill-opacity:.17;stroke:none}
.cursor{position:absolute;top:0;bottom:0;width:0;border-left:1px dashed var(--soft);pointer-events:none}
.tip{position:absolute;top:.2rem;z-index:1;pointer-events:none;background:var(--ground);color:var(--text);border:1px solid var(--rule);border-radius:5px;
padding:.25rem .5rem;box-shadow:0 2px 8px #0003;white-space:nowrap;line-height:1.45;max-width:80vw;overflow:hidden}
.tip i{display:inline-block;width:.7em;height:.7em;border-radius:2px;background:var(--c);margin-right:.4em}
.tip b{float:right;margin-left:1em}
.wide{overflow-x:auto;margin:0 0 1rem}
table{border-collapse:collapse;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
th,td{text-align:left;vertical-align:top;padding:.3rem 1.4rem .3rem 0;border-bottom:1px solid var(--rule)}
th{font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums}
td.n,td:first-child,th:not(.n){white-space:nowrap}
dl{columns:22rem;column-gap:2rem;font-size:.85rem;margin:0 0 1rem}
dl div{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:1rem;break-inside:avoid;padding:.1rem 0}
dt{color:var(--soft);overflow-wrap:anywhere}
dd{margin:0;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.7rem;margin:0 0 1rem}
.tiles div{background:var(--panel);border-radius:8px;padding:.6rem .8rem;min-width:0}
.tiles span,.tiles small{display:block;color:var(--soft);font-size:.8rem}
.tiles b{display:block;font-size:1.35rem;font-weight:600;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.picture img{display:block;max-width:100%;height:auto;image-rendering:pixelated}
.picture figcaption{color:var(--soft);margin-top:.4rem;max-width:48rem}
.slider label{display:flex;align-items:center;gap:.8rem;margin-bottom:.6rem;max-width:48rem}
.slider input{flex:1;min-width:0;height:1.8rem}
.slider output{min-width:8.5em;font-size:.9rem;font-variant-numeric:tabular-nums}
pre{background:var(--panel);border-radius:8px;padding:.8rem;overflow-x:auto;font-size:.8rem;line-height:1.4}
summary{cursor:pointer;padding:.3rem 0}
[hidden]{display:none}
@page{margin:14mm}
@media print{
:root{--ground:#fff;--text:#000;--soft:#444;--rule:#ccc;--panel:#f4f4f4}
body{font-size:10pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}
.columns{grid-template-columns:repeat(auto-fit,minmax(19rem,1fr))}
dl{columns:2}
.plot{grid-template-rows:11rem 1.5rem auto}
td.n,td:first-child,th:not(.n){white-space:normal}
td:not(.n){overflow-wrap:anywhere}
figure,.tiles,tr{break-inside:avoid}
h2{break-after:avoid}
.wide{overflow:visible}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
.slider input{display:none}
details::details-content{content-visibility:visible;display:block}
}`;
