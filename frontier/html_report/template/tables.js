"use strict";
// Tables that sort by any column, and their LaTeX on the clipboard.

function sortKey(cell) {
  const text = (cell.dataset.value ?? cell.textContent).trim();
  const found = text.match(/^<?(-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?))(?![\w])/);
  return { text, number: found ? Number(found[1].replace("inf", "Infinity")) : NaN };
}

function compareCells(a, b, numeric) {
  if (!a.text || !b.text) return a.text ? -1 : b.text ? 1 : 0;  // empty cells last, either way
  return numeric ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true });
}

function sortBy(table, column, direction, original) {
  const body = table.tBodies[0];
  if (direction === "none") {
    body.replaceChildren(...original);
    return;
  }
  const keyed = original.map((row) => ({ row, key: sortKey(row.cells[column]) }));
  const numeric = keyed.every(({ key }) => !key.text || !Number.isNaN(key.number));
  const sign = direction === "ascending" ? 1 : -1;
  keyed.sort((a, b) => (a.key.text && b.key.text ? sign : 1) * compareCells(a.key, b.key, numeric));
  body.replaceChildren(...keyed.map(({ row }) => row));
}

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  const original = [...table.tBodies[0].rows];
  headers.forEach((th, column) => {
    th.setAttribute("scope", "col");
    if (original.length < 2) return;
    const button = document.createElement("button");
    button.type = "button";
    const seen = th.textContent.trim(), name = th.dataset.name ?? seen;
    if (name !== seen) button.setAttribute("aria-label", name);
    button.append(...th.childNodes);
    th.replaceChildren(button);
    th.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = NEXT[th.getAttribute("aria-sort")];
      headers.forEach((other) => other.setAttribute("aria-sort", other === th ? direction : "none"));
      sortBy(table, column, direction, original);
      say(direction === "none" ? "Order restored" : `Sorted by ${name}, ${direction}`);
    });
  });
}

async function copyText(source, button) {
  const text = source.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(source);
    if (!document.execCommand("copy")) {
      button.textContent = "Selected: copy with Ctrl+C";
      return;
    }
  }
  button.textContent = "Copied";
  say("LaTeX copied");
  setTimeout(() => { button.textContent = "Copy LaTeX"; }, 2000);
}

document.querySelectorAll(".scroll table").forEach(makeSortable);
document.querySelectorAll(".copy").forEach((button) => {
  button.addEventListener("click", () => copyText(document.getElementById(button.dataset.copies), button));
});
