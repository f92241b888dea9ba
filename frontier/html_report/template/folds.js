"use strict";
// What opens and what is left out: links into folds, paper, the filter over cells and families.
let opened = [];  // folds that paper opened

function unfold(printing) {
  if (printing) opened = [...document.querySelectorAll("details:not(.latex, .more):not([open])")];
  opened.forEach((fold) => { fold.open = printing; });
  if (!printing) opened = [];
}

function openAround(target) {
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  const own = target.querySelector(":scope > details.fold");
  if (own) own.open = true;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (target) openAround(target);
});
if (location.hash) {
  const target = document.getElementById(location.hash.slice(1));
  if (target) openAround(target);
}

// Figures that changed while their fold was closed are drawn anew when it opens.
document.querySelectorAll("details").forEach((fold) => fold.addEventListener("toggle", () => {
  if (fold.open && !state.printing) fold.querySelectorAll(".plot").forEach((div) => {
    if (div.data && visible(div)) DRAW[div.dataset.kind](div);
  });
}));

// A word that a family's name holds keeps such families, one that a cell's name holds keeps such cells.
function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const families = data.families.map((f) => f.name.toLowerCase());
  const cells = [...document.querySelectorAll("[data-cell]")];
  const names = cells.map((element) => element.dataset.cell.toLowerCase());
  const of = (all) => words.filter((word) => all.some((name) => name.includes(word)));
  const inFamilies = of(families), inCells = of(names);
  const unknown = words.filter((word) => !inFamilies.includes(word) && !inCells.includes(word));
  const kept = (name) => !unknown.length && (!inFamilies.length || inFamilies.some((word) => name.includes(word)));
  state.filtered = new Set(families.flatMap((name, i) => (kept(name) || isReference(name) ? [] : [i])));
  const keptCell = (name) => !unknown.length && inCells.every((word) => name.includes(word) || inFamilies.includes(word));
  cells.forEach((element, i) => { element.hidden = !keptCell(names[i]); });
  document.querySelectorAll("[data-family]").forEach((element) => {
    element.hidden = !kept(element.dataset.family.toLowerCase());
  });
  hideColumns(kept);
  redraw();
  const count = document.querySelectorAll("#matrix tbody tr:not([hidden])").length;
  say(unknown.length ? `Nothing matches ${unknown.join(" ")}` : `${count} cells shown`);
}

function isReference(name) {
  return data.reference !== null && name === data.reference.toLowerCase();
}

function hideColumns(kept) {
  const [head] = document.querySelectorAll("#matrix thead tr");
  [...head.cells].forEach((th, column) => {
    const hide = th.dataset.name !== undefined && !kept(th.dataset.name.toLowerCase());
    document.querySelectorAll("#matrix tr").forEach((row) => { row.cells[column].hidden = hide; });
  });
}

document.getElementById("filter")?.addEventListener("input", (event) => filter(event.target.value));
