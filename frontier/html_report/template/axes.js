"use strict";
// What the reader can switch: families, axes, keyboard steps, light and dark, screen and paper.
const DRAW = { frontier: drawFrontier, collapse: drawCollapse, fits: drawFits, ratios: drawRatios };
const AT_ONCE = 24;
const divs = [...document.querySelectorAll(".plot")];
const visible = (div) => !div.closest("details:not([open]), [hidden]");
const ready = new Set(divs.filter(visible).slice(0, AT_ONCE));
const say = (text) => { document.getElementById("say").textContent = text; };

function redraw(...kinds) {
  for (const div of divs) {
    if (ready.has(div) && (state.printing || visible(div)) && (!kinds.length || kinds.includes(div.dataset.kind))) DRAW[div.dataset.kind](div);
  }
}

// ---- families: one button each, its marker as a picture

function polygon(sides, turn, tall = 1) {
  const points = Array.from({ length: sides }, (_, i) => {
    const angle = 2 * Math.PI * (i / sides) + turn;
    return `${(8 + 6.5 * Math.sin(angle) / tall).toFixed(2)},${(8 - 6.5 * Math.cos(angle)).toFixed(2)}`;
  });
  return points.join(" ");
}

const SIDES = {
  square: [4, Math.PI / 4], diamond: [4, 0], "diamond-tall": [4, 0, 1.7], "triangle-up": [3, 0],
  "triangle-down": [3, Math.PI], "triangle-left": [3, -Math.PI / 2], "triangle-right": [3, Math.PI / 2],
  pentagon: [5, 0], hexagon: [6, 0], hexagon2: [6, Math.PI / 6], octagon: [8, Math.PI / 8],
};

function picture(family) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", "16");
  svg.setAttribute("height", "16");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(svg.namespaceURI, SIDES[family.symbol] ? "polygon" : "circle");
  if (SIDES[family.symbol]) shape.setAttribute("points", polygon(...SIDES[family.symbol]));
  else for (const [name, value] of [["cx", 8], ["cy", 8], ["r", 6]]) shape.setAttribute(name, value);
  shape.setAttribute("fill", colourOf(family));
  svg.append(shape);
  return svg;
}

function familyButtons() {
  const bar = document.getElementById("families");
  bar.replaceChildren(...data.families.map((family, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "family";
    button.setAttribute("aria-pressed", String(!state.hidden.has(i)));
    button.append(picture(family), document.createTextNode(family.name));
    button.addEventListener("click", () => {
      if (!state.hidden.delete(i)) state.hidden.add(i);
      button.setAttribute("aria-pressed", String(!state.hidden.has(i)));
      redraw();
    });
    return button;
  }));
}

// ---- keyboard: arrows step through the SAEs of a figure, + and - zoom, 0 goes back

function within(div, name, value) {
  const { type, range } = div._fullLayout[name], at = type === "log" ? Math.log10(value) : value;
  return at >= Math.min(...range) && at <= Math.max(...range);
}

function steps(div) {
  return (div.data ?? []).flatMap((trace, curve) =>
    trace.hoverinfo !== "text" ? [] : trace.x.flatMap((x, point) =>
      within(div, "xaxis", x) && within(div, "yaxis", trace.y[point]) ? [{ curveNumber: curve, pointNumber: point }] : []));
}

function step(div, by) {
  const points = steps(div);
  if (!points.length) return;
  const at = div.dataset.at === undefined ? (by > 0 ? 0 : points.length - 1) : Number(div.dataset.at) + by;
  const next = ((at % points.length) + points.length) % points.length;
  div.dataset.at = next;
  const { curveNumber, pointNumber } = points[next];
  Plotly.Fx.hover(div, [points[next]]);
  const words = div.data[curveNumber].hovertext[pointNumber].replace(/<br>/g, ", ").replace(/<[^>]*>/g, "");
  say(words.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&"));
}

function zoom(div, factor) {
  const change = {};
  for (const name of div.dataset.kind === "ratios" ? ["xaxis"] : ["xaxis", "yaxis"]) {
    const [low, high] = div._fullLayout[name].range;
    const half = (high - low) / 2 * factor, middle = (low + high) / 2;
    change[`${name}.range`] = [middle - half, middle + half];
  }
  Plotly.relayout(div, change);
}

function onKey(event) {
  const div = event.currentTarget;
  if (event.ctrlKey || event.metaKey || event.altKey || !div.data) return;
  const keys = {
    ArrowRight: () => step(div, 1), ArrowLeft: () => step(div, -1), "+": () => zoom(div, 0.8), "=": () => zoom(div, 0.8),
    "-": () => zoom(div, 1.25), 0: () => DRAW[div.dataset.kind](div), Escape: () => Plotly.Fx.unhover(div),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
}

// ---- start

function listen(ids, kind) {
  for (const id of ids) document.getElementById(id)?.addEventListener("change", () => {
    redraw(kind);
  });
}

function forPaper(printing) {
  if (state.printing === printing) return;
  state.printing = printing;
  if (printing) divs.forEach((div) => ready.add(div));
  unfold(printing);
  familyButtons();
  redraw();
}

familyButtons();
listen(["x-axis", "y-axis", "x-log", "y-log"], "frontier");
listen(["fits-log", "fits-band"], "fits");
listen(["quantity"], "ratios");
divs.forEach((div) => div.addEventListener("keydown", onKey));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { familyButtons(); redraw(); });
matchMedia("print").addEventListener("change", (event) => forPaper(event.matches));
addEventListener("beforeprint", () => forPaper(true));
addEventListener("afterprint", () => forPaper(false));
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width && !state.printing) redraw("ratios");
  width = innerWidth;
});
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  seen.unobserve(entry.target);
  if (ready.has(entry.target) && entry.target.data) return;
  ready.add(entry.target);
  DRAW[entry.target.dataset.kind](entry.target);
}), { rootMargin: "400px" });
divs.forEach((div) => seen.observe(div));
redraw();
document.documentElement.dataset.ready = "yes";
