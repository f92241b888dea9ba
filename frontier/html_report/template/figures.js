"use strict";
// The figures, drawn from the page's data. Nothing is computed here but where things go.
const data = JSON.parse(document.getElementById("data").textContent);
const state = { hidden: new Set(), filtered: new Set(), printing: false };
const NARROW = 520, PRINT_WIDTH = 325, PRINT_WHOLE = 660;
const HEIGHT = { frontier: 320, fits: 320, collapse: 360 }, LOW = 264, PRINTED = { collapse: 300 };

const dark = () => !state.printing && matchMedia("(prefers-color-scheme: dark)").matches;
const isOn = (id) => document.getElementById(id)?.checked ?? false;
const chosen = (id) => Number(document.getElementById(id)?.value ?? 0);
const familyIndex = new Map(data.families.map((f, i) => [f.name, i]));
const colourOf = (f) => (dark() ? f.dark : f.colour);
const shownFamily = (f) => !state.hidden.has(f) && !state.filtered.has(f);
const shownName = (name) => shownFamily(familyIndex.get(name) ?? -1);

// Plotly reads <b>, <a href> and the like in its texts, and decodes entities after that: names are shown as they are.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function brief(text, most) {
  const letters = Array.from(String(text));
  return plain(letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text);
}

function shortNumber(v) {
  if (v === null || v === undefined) return "unknown";
  return Number(v.toPrecision(4)).toString();
}

function faded(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

function ink() {
  return dark()
    ? { text: "#e7e9ec", quiet: "#a3a9b3", grid: "#2c3138", paper: "#15171a", raised: "#1e2126" }
    : { text: "#1b1d21", quiet: "#5b6068", grid: "#e6e8ec", paper: "#ffffff", raised: "#ffffff" };
}

function axis(title, log, range) {
  const c = ink();
  return {
    title: { text: title, font: { size: 13 }, standoff: 8 }, type: log ? "log" : "linear", automargin: true,
    gridcolor: c.grid, linecolor: c.quiet, tickcolor: c.quiet, ticks: "outside", ticklen: 4, showline: true,
    zeroline: false, tickformat: log ? ".3~r" : "", nticks: 7, range, autorange: range === undefined,
    exponentformat: "power", tickangle: 0,
  };
}

// A panel of its own fills the printed page, several stand two by two.
function printWidth(div) {
  const beside = div.closest(".panels")?.querySelectorAll(".plot").length ?? 2;
  return beside > 1 ? PRINT_WIDTH : PRINT_WHOLE;
}

function heightOf(div) {
  if (state.printing) return PRINTED[div.dataset.kind] ?? 250;
  return div.dataset.kind === "frontier" && div.closest(".low") ? LOW : HEIGHT[div.dataset.kind];
}

function layout(div, xaxis, yaxis) {
  const c = ink();
  return {
    xaxis, yaxis, showlegend: false, hovermode: "closest", hoverdistance: 24,
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    margin: { l: 56, r: 12, t: 26, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: c.text },
    hoverlabel: { bgcolor: c.raised, bordercolor: c.quiet, font: { color: c.text, size: 12 }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: c.quiet, activecolor: c.text },
    width: state.printing ? printWidth(div) : undefined, height: heightOf(div), autosize: !state.printing,
  };
}

// A title along a low axis goes into two lines.
function upright(div, text) {
  return heightOf(div) < 300 ? wrapped(text, 24) : plain(text);
}

// Ticks of a log axis at 1, 1-3, 1-2-5 or finer steps, as many as fit, so that labels never touch.
const STEPS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]];

function logTicks([low, high], most) {
  const between = (steps) => {
    const found = [];
    for (let e = Math.floor(low); e <= Math.ceil(high); e++) for (const s of steps) found.push(Number(`${s}e${e}`));
    return found.filter((v) => Math.log10(v) >= low - 1e-9 && Math.log10(v) <= high + 1e-9);
  };
  let found = between(STEPS[0]);
  found = found.filter((_, i) => i % Math.ceil(found.length / most) === 0);
  for (const steps of STEPS.slice(1)) {
    const finer = between(steps);
    if (found.length >= Math.min(4, most) || finer.length > most) break;
    found = finer;
  }
  return found.length > 1 ? found : null;  // null: a stretch so short that even steps do
}

const settling = new Map();  // figures whose ticks are being set, and whether they were drawn anew meanwhile
const setsTicks = (change) => Object.keys(change).every((key) => key.includes(".tick"));

function plainTicks(div) {
  if (settling.has(div)) return settling.set(div, true);
  const change = {};
  for (const [name, room] of [["xaxis", 46], ["yaxis", 30]]) {
    const axis = div._fullLayout[name];
    if (axis.type !== "log") continue;
    const ticks = logTicks(axis.range, Math.max(3, Math.min(9, Math.floor(axis._length / room))));
    if (JSON.stringify(ticks) === JSON.stringify(axis.tickmode === "array" ? axis.tickvals : null)) continue;
    change[`${name}.tickmode`] = ticks ? "array" : "auto";
    change[`${name}.tickvals`] = ticks;
    change[`${name}.ticktext`] = ticks && ticks.map((v) => (v >= 1e-4 && v < 1e6 ? String(v) : v.toExponential()));
  }
  if (!Object.keys(change).length) return;
  const settled = () => {
    const anew = settling.get(div);
    settling.delete(div);
    if (anew) plainTicks(div);
  };
  settling.set(div, false);
  Plotly.relayout(div, change).then(settled, settled);
}

// A label stands where its point was: after a zoom or a redraw it would name nothing, or something else.
function forgetLabel(div) {
  delete div.dataset.at;
  if (div._hoverdata || div.querySelector("g.hovertext")) Plotly.Fx.unhover(div);
}

function put(div, traces, drawing, name) {
  const config = {
    responsive: true, displaylogo: false, scrollZoom: false, showTips: false,
    modeBarButtons: [["toImage"], ["zoom2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], showSendToCloud: false,
    plotlyServerURL: "",  // these buttons and no others: Plotly's own set has one that uploads the data
    toImageButtonOptions: { format: "svg", filename: name },
  };
  Plotly.react(div, traces, drawing, config);
  if (!div.dataset.listens) div.on("plotly_relayout", (change) => {
    if (setsTicks(change)) return;
    forgetLabel(div);
    plainTicks(div);
  });
  div.dataset.listens = "yes";
  forgetLabel(div);
  plainTicks(div);
  div.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
  div.querySelectorAll(".modebar a, .modebar button").forEach((button) => button.setAttribute("tabindex", "-1"));
}

function markers(family, open, size) {
  const colour = colourOf(family);
  return {
    symbol: family.symbol + (open ? "-open" : ""), size, color: colour, opacity: open ? 0.55 : 1,
    line: { width: open ? 1.2 : 0.8, color: open ? colour : ink().paper },
  };
}

// ---- frontier: every SAE a point, those of a family that are compared joined

function drawFrontier(div) {
  const panel = data.frontier.panels[Number(div.dataset.panel)];
  const x = data.frontier.x[chosen("x-axis")], y = data.frontier.y[chosen("y-axis")];
  const logX = isOn("x-log"), logY = isOn("y-log");
  const xs = panel.values[x.name], ys = panel.values[y.name];
  const traces = [];
  let shown = 0;
  data.families.forEach((family, f) => {
    if (!shownFamily(f)) return;
    const rows = xs.map((_, i) => i).filter((i) =>
      panel.family[i] === f && xs[i] !== null && ys[i] !== null && (!logX || xs[i] > 0) && (!logY || ys[i] > 0));
    shown += rows.length;
    rows.sort((a, b) => xs[a] - xs[b]);
    const words = (i) => [
      `<b>${plain(panel.name[i])}</b>`, plain(family.name), `${plain(x.label)}: ${shortNumber(xs[i])}`,
      `${plain(y.label)}: ${shortNumber(ys[i])}`, panel.compared[i] ? "on the frontier" : "not on the frontier",
    ].join("<br>");
    for (const chosenRows of [0, 1]) {
      const own = rows.filter((i) => panel.compared[i] === chosenRows);
      if (!own.length) continue;
      traces.push({
        type: "scatter", mode: chosenRows ? "lines+markers" : "markers", x: own.map((i) => xs[i]), y: own.map((i) => ys[i]),
        hovertext: own.map(words), hoverinfo: "text", name: brief(family.name, 40), marker: markers(family, !chosenRows, 8),
        line: { color: colourOf(family), width: 1.6 },
      });
    }
  });
  div.setAttribute("aria-label", `${panel.label}: ${y.label} against ${x.label}, ${shown} SAEs shown`);
  put(div, traces, layout(div, axis(plain(x.label), logX), axis(upright(div, y.label), logY)), "frontier");
}

// ---- fits: points, curve and band inside the data, dashed beyond them

function keep(line, log, from) {
  const rows = line.x.map((_, i) => i).filter((i) => line.y[i] !== null && line.x[i] !== null &&
    (!log || (line.y[i] > 0 && line.x[i] > 0 && line.x[i] >= from)));
  return { x: rows.map((i) => line.x[i]), y: rows.map((i) => line.y[i]) };
}

function fitTraces(fit, log, band) {
  const family = data.families[familyIndex.get(fit.family)] ?? data.families[0];
  const colour = colourOf(family);
  const smallest = Math.min(...fit.x.filter((v) => v !== null));
  const line = { type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: colour, width: 2 } };
  const dashed = { ...line, line: { color: colour, width: 1.6, dash: "5px,4px" }, opacity: 0.75 };
  const traces = [];
  if (band) {
    const low = keep({ x: fit.line.x, y: fit.band.low }, log, 0), high = keep({ x: fit.line.x, y: fit.band.high }, log, 0);
    traces.push({
      type: "scatter", mode: "lines", x: [...low.x, ...high.x.reverse()], y: [...low.y, ...high.y.reverse()],
      fill: "toself", fillcolor: faded(colour, 0.17), line: { width: 0 }, hoverinfo: "skip",
    });
  }
  for (const part of [fit.below, fit.beyond]) traces.push({ ...dashed, ...keep(part, log, smallest / 1.5) });
  traces.push({ ...line, ...keep(fit.line, log, 0) });
  const rows = fit.x.map((_, i) => i);
  traces.push({
    type: "scatter", mode: "markers", x: fit.x, y: fit.y, name: brief(fit.family, 40), marker: markers(family, false, 8),
    hoverinfo: "text",
    hovertext: rows.map((i) => [
      `<b>${plain(fit.name[i])}</b>`, `${plain(data.fits.x)}: ${shortNumber(fit.x[i])}`,
      `${plain(data.fits.y)}: ${shortNumber(fit.y[i])}`, plain(fit.words),
    ].join("<br>")),
  });
  return traces;
}

function span(parts, log) {  // the axes follow points and curves, not bands
  const all = parts.flat().filter((v) => v !== null && (!log || v > 0));
  if (!all.length) return undefined;
  const low = Math.min(...all), high = Math.max(...all);
  if (log) return [Math.log10(low) - 0.06, Math.log10(high) + 0.06];
  const margin = 0.05 * (high - low || Math.abs(high) || 1);
  return [low >= 0 && low < 0.3 * high ? -0.02 * high : low - margin, high + margin];
}

function drawFits(div) {
  const panel = data.fits.panels[Number(div.dataset.panel)];
  const log = isOn("fits-log");
  const shown = panel.fits.filter((f) => shownName(f.family));
  const traces = shown.flatMap((f) => fitTraces(f, log, isOn("fits-band")));
  const drawn = traces.filter((t) => t.fill !== "toself");
  const xaxis = axis(plain(data.fits.x), log, span(drawn.map((t) => t.x), log));
  const yaxis = axis(upright(div, data.fits.y), log, span(drawn.map((t) => t.y), log));
  const drawing = layout(div, xaxis, yaxis);
  if (!panel.fits.length) withoutAxes(drawing, ["not fitted:", ...panel.missing]);
  const words = shown.map((f) => `${f.family}: ${f.words}`).join(". ") || `Not fitted: ${panel.missing.join(", ")}.`;
  div.setAttribute("aria-label", `${panel.label}: ${data.fits.y} against ${data.fits.x}. ${words}`);
  put(div, traces, drawing, "fits");
}

// Words in a panel that has nothing to draw, in place of its axes.
function withoutAxes(drawing, lines) {
  drawing.xaxis = { visible: false };
  drawing.yaxis = { visible: false };
  const text = lines.map((line) => brief(line, 40)).join("<br>");
  drawing.annotations = [{ text, xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false, font: { color: ink().quiet } }];
}

// ---- collapse: the families of a cell on their common curve, and what it leaves over

function collapseTraces(panel, part) {
  const family = data.families[familyIndex.get(part.family)] ?? data.families[0];
  const order = part.x.map((_, i) => i).sort((a, b) => part.x[a] - part.x[b]);
  const pick = (values) => order.map((i) => values[i]);
  const words = order.map((i) => [
    `<b>${plain(part.family)}</b>`, `L0: ${shortNumber(part.l0[i])}, shifted: ${shortNumber(part.x[i])}`,
    `${plain(panel.y)}: ${shortNumber(part.y[i])}`, `Residual: ${shortNumber(part.residual[i])} SD`,
  ].join("<br>"));
  const both = { type: "scatter", x: pick(part.x), hovertext: words, name: brief(part.family, 40) };
  return [
    { ...both, mode: "markers", y: pick(part.y), hoverinfo: "text", marker: markers(family, false, 8) },
    {
      ...both, mode: "lines+markers", y: pick(part.residual), yaxis: "y2", marker: markers(family, false, 6),
      line: { color: colourOf(family), width: 1 }, hoverinfo: "skip",
    },
  ];
}

function drawCollapse(div) {
  const panel = data.collapse[Number(div.dataset.panel)];
  const shown = panel.families.filter((f) => shownName(f.family));
  const line = { ...panel.line, type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: ink().quiet, width: 1.4 } };
  const drawing = layout(div, axis("L0 × relative potency", true), axis(wrapped(panel.y, 20), true));
  const farthest = 1.15 * Math.max(2, ...panel.families.flatMap((f) => f.residual.map((v) => Math.abs(v ?? 0))));
  drawing.xaxis.anchor = "y2";
  drawing.yaxis.domain = [0.36, 1];
  drawing.yaxis2 = { ...axis("Residual (SD)", false, [-farthest, farthest]), domain: [0, 0.27], nticks: 4 };
  drawing.shapes = [{
    type: "rect", xref: "paper", x0: 0, x1: 1, yref: "y2", y0: -2, y1: 2, layer: "below", line: { width: 0 },
    fillcolor: faded(ink().quiet, 0.12),
  }];
  const words = panel.families.map((f) => `${f.family}: relative potency ${f.potency}`).join(". ");
  div.setAttribute("aria-label", `${panel.label}: families shifted onto the curve of ${panel.reference}. ${words}`);
  put(div, [line, ...shown.flatMap((f) => collapseTraces(panel, f))], drawing, "collapse");
}

// ---- ratios: one row per comparison, its interval on a log axis, a line at 1

function ratioWindow(rows) {
  const known = [1, ...rows.map((r) => r.ratio).filter((v) => v > 0)];
  const least = Math.min(...known) / 30, most = Math.max(...known) * 30;
  const inside = [...known, ...rows.flatMap((r) => [r.low, r.high]).filter((v) => v !== null && v >= least && v <= most)];
  const logs = inside.map(Math.log10);
  const margin = 0.06 * (Math.max(...logs) - Math.min(...logs)) + 0.04;
  return [Math.min(...logs) - margin, Math.max(...logs) + margin];
}

function ratioRow(row, i, ends) {
  const family = data.families[familyIndex.get(row.family)] ?? data.families[0];
  const colour = colourOf(family), edges = ends.map((v) => 10 ** v);
  const low = row.low !== null && row.low > edges[0] ? row.low : edges[0];
  const high = row.high !== null && row.high < edges[1] ? row.high : edges[1];
  const words = `<b>${plain(row.label)}</b><br>${plain(row.text)}${plain(row.at)}`;
  const traces = [{ type: "scatter", mode: "lines", x: [low, high], y: [i, i], hoverinfo: "skip", line: { color: colour, width: 2.2 } }];
  [[low === edges[0], edges[0], "triangle-left"], [high === edges[1], edges[1], "triangle-right"]].forEach(([beyond, at, symbol]) => {
    if (beyond) traces.push({ type: "scatter", mode: "markers", x: [at], y: [i], hoverinfo: "skip", cliponaxis: false, marker: { symbol, size: 10, color: colour } });
  });
  traces.push({
    type: "scatter", mode: "markers", x: [row.ratio], y: [i], hovertext: [words], hoverinfo: "text",
    marker: { ...markers(family, false, 6) },
  });
  const shown = [low, high].filter((v) => !edges.includes(v));  // ticks taller than the marker: a narrow interval is seen
  traces.push({ type: "scatter", mode: "markers", x: shown, y: shown.map(() => i), hoverinfo: "skip", marker: { symbol: "line-ns", size: 8, line: { color: colour, width: 1.6 } } });
  return traces;
}

function drawRatios(div) {
  const q = data.ratios[chosen("quantity")];
  const all = q.panels.flatMap((panel) => panel.rows).filter((r) => shownName(r.family));
  const rows = (q.panels[Number(div.dataset.panel)]?.rows ?? []).filter((r) => shownName(r.family));
  const width = state.printing ? printWidth(div) : div.clientWidth;
  const narrow = width < NARROW, ends = ratioWindow(all);  // one window for all panels
  const drawing = layout(div, axis(plain(q.title), true, ends), axis("", false, [rows.length - 0.4, -0.6]));
  drawing.xaxis.title.text = wrapped(q.title, Math.floor(width / (narrow ? 8.5 : 9)));
  drawing.yaxis = {
    ...drawing.yaxis, tickmode: "array", tickvals: rows.map((_, i) => i), ticks: "", showline: false, showgrid: false, fixedrange: true,
    ticktext: narrow ? rows.map(() => "") : rows.map((r) => brief(r.short, 36)),
  };
  drawing.shapes = [{ type: "line", x0: 1, x1: 1, yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: ink().quiet, width: 1.5 } }];
  drawing.annotations = rows.map((r, i) => narrow
    ? { text: `<b>${brief(r.short, 22)}</b>  ${plain(r.text)}`, xref: "paper", x: 0, xanchor: "left", y: i, yshift: 17, showarrow: false }
    : { text: plain(r.text), xref: "paper", x: 1.02, xanchor: "left", y: i, showarrow: false });
  drawing.margin = { l: narrow ? 12 : 60, r: narrow ? 12 : 150, t: 26, b: narrow ? 96 : 64 };
  drawing.height = (narrow ? 44 : 32) * rows.length + drawing.margin.t + drawing.margin.b + 16;
  div.style.height = `${drawing.height}px`;
  const words = rows.map((r) => `${r.label}: ${r.text}${r.at}`).join(". ");
  div.setAttribute("aria-label", `${q.title}. ${words || "Nothing to show."}`);
  const traces = rows.flatMap((r, i) => (r.ratio > 0 ? ratioRow(r, i, ends) : []));
  put(div, traces, drawing, "ratios");
}

function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines[lines.length - 1].length + word.length >= most && lines[lines.length - 1]) lines.push("");
    lines[lines.length - 1] += (lines[lines.length - 1] ? " " : "") + word;
  }
  return lines.map(plain).join("<br>");
}
