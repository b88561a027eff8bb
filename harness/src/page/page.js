"use strict";
// Everything shown comes from the JSON below through textContent: no text of a model is ever read as markup.
const page = JSON.parse(document.getElementById("data").textContent);
const S = page.strings, WORDS = page.verdicts, SIGNS = ["✓", "✕", "!", "~", "–"];
const $ = id => document.getElementById(id);

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}
const mark = verdict => make("span", { class: "mark v" + verdict }, SIGNS[verdict] + " " + WORDS[verdict]);

// A row is [cell, check, prompt, verdict, milliseconds, compared, measures, more].
const rows = page.rows.map((r, index) => {
  const more = r[7] || {};
  const cell = r[0] < 0 ? null : page.cells[r[0]], check = r[1] < 0 ? null : page.checks[r[1]];
  const name = more.n !== undefined ? S[more.n] : S[cell[0]] + "::" + S[check[0]] + (r[2] < 0 ? "" : "::" + S[r[2]]);
  return { index, name, lower: name.toLowerCase(), cell: r[0], check: r[1], prompt: r[2] < 0 ? "" : S[r[2]], verdict: r[3], ms: r[4], compared: r[5], measures: r[6], more };
});
const byName = new Map(rows.map(row => [row.name, row]));
const WORST = [1, 2, 3, 4, 0];
const worse = (a, b) => WORST.indexOf(a) <= WORST.indexOf(b) ? a : b;
const isRed = row => row.verdict === 1 || row.verdict === 2;
const reds = rows.filter(isRed);

function number(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6 ? value.toExponential(3) : value.toFixed(4);
}
function measures(row) {
  if (!row.measures.length) return null;
  const body = make("tbody");
  for (const [name, observed, bound, broken] of row.measures) {
    const [label, unit] = page.measures[name], gated = bound !== null, holds = broken === undefined;
    body.append(make("tr", null, make("td", null, S[label]), make("td", { class: "n" }, number(observed) + (S[unit] ? " " + S[unit] : "")),
      make("td", { class: "n" }, gated ? "≤ " + number(bound) : "printed only"),
      make("td", holds ? null : { class: "out" }, gated ? (holds ? "holds" : "✕ is not ≤") : "")));
  }
  const head = make("tr", null, ...["measure", "observed", "bound", ""].map((text, i) => make("th", { scope: "col", class: i === 1 || i === 2 ? "n" : "" }, text)));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "measures" }, make("table", null, make("thead", null, head), body));
}
function command(row) {
  const quoted = "'" + row.name.replaceAll("'", "'\\''") + "'";
  const text = row.more.r !== undefined ? S[row.more.r] : page.reproduce.replace("\u0001", () => quoted);
  const copy = make("button", { type: "button" }, "Copy");
  const pre = make("pre", { tabindex: "0" }, text);
  copy.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); copy.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(pre); copy.textContent = "Selected"; }
    $("said").textContent = "command " + copy.textContent.toLowerCase();
  });
  return make("div", { class: "cmd" }, pre, copy);
}
function story(row) {
  const list = make("dl", { class: "story" });
  const add = (label, value) => { if (value !== null && value !== undefined && value !== "") list.append(make("dt", null, label), make("dd", null, value)); };
  const more = row.more, of = key => more[key] === undefined ? "" : S[more[key]], check = page.checks[row.check];
  add("claim", check || more.c !== undefined ? (check ? S[check[1]] + ": " : "") + (more.c !== undefined ? S[more.c] : S[check[2]]) : "");
  add("refuted by", check ? S[check[3]] : "");
  if (row.verdict === 4) { add("not tested", of("o")); return list; }
  add("expected", of("e"));
  add("observed", (more.k !== undefined ? S[more.k] + ": " : "") + of("o"));
  add("measures", measures(row) || (row.verdict === 0 ? "exact" : ""));
  add("where", of("w"));
  add("owner", of("a"));
  if (more.d) add("diagnosis", make("ul", null, ...more.d.map(place => make("li", null, S[place]))));
  if (more.x !== undefined) add("known", of("x"));
  add("flagged", of("y"));
  add("compared", row.compared + " values in " + row.ms + " ms");
  add("evidence", more.f !== undefined ? make("code", null, page.folder + "/" + S[more.f]) : "");
  add("see it again", command(row));
  return list;
}

const dialog = $("evidence");
let cameFrom = null;
function open(title, some, focus) {
  if (!dialog.open) cameFrom = document.activeElement;
  $("evidence-title").textContent = title;
  const inside = $("evidence-inside");
  inside.replaceChildren();
  const sorted = [...some].sort((a, b) => WORST.indexOf(a.verdict) - WORST.indexOf(b.verdict) || a.index - b.index);
  if (sorted.length === 1) inside.append(mark(sorted[0].verdict), story(sorted[0]));
  else for (const row of sorted.slice(0, 300)) {
    const details = make("details", null, make("summary", null, mark(row.verdict), " ", row.prompt || row.name));
    const fill = () => { if (details.open && details.childElementCount === 1) details.append(story(row)); };
    details.addEventListener("toggle", fill);
    if (row === focus || !focus && row === sorted[0]) { details.open = true; fill(); }
    inside.append(details);
  }
  if (sorted.length > 300) inside.append(make("p", null, (sorted.length - 300) + " more rows: search for them by name."));
  const current = focus || sorted[0];
  $("next").hidden = !reds.length;
  $("next").onclick = () => show(reds.find(row => row.index > current.index) || reds[0]);
  if (!dialog.open) dialog.showModal();
  inside.scrollTop = 0;
}
function show(row) {
  open(row.name, [row], row);
  history.replaceState(null, "", "#row=" + encodeURIComponent(row.name));
}
dialog.addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  if (cameFrom && cameFrom.isConnected) cameFrom.focus();
});
$("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", event => { if (event.key === "n" && !event.ctrlKey && !event.metaKey && reds.length) { event.preventDefault(); $("next").click(); } });

// The heat map: one model at a time, checks down, cells across.
const models = [...new Set(page.cells.map(cell => S[cell[1]]))];
const checkOrder = page.checks.map((_, index) => index);
let model = models[0], filtered = null;
const redModel = models.find(name => reds.some(row => row.cell >= 0 && S[page.cells[row.cell][1]] === name));
if (redModel) model = redModel;
for (const name of models) {
  const count = reds.filter(row => row.cell >= 0 && S[page.cells[row.cell][1]] === name).length;
  const tab = make("button", { type: "button", role: "tab", "data-model": name }, name + (count ? " (" + count + " red)" : ""));
  tab.addEventListener("click", () => { model = name; draw(); });
  $("models").append(tab);
}
$("models").addEventListener("keydown", event => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  model = models[(models.indexOf(model) + step + models.length) % models.length];
  draw();
  [...$("models").children].find(tab => tab.dataset.model === model).focus();
});
function draw() {
  for (const tab of $("models").children) {
    const chosen = tab.dataset.model === model;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
  }
  const cells = page.cells.map((cell, index) => ({ cell, index })).filter(({ cell }) => S[cell[1]] === model);
  const groups = new Map();
  for (const row of rows) if (row.cell >= 0 && row.check >= 0 && S[page.cells[row.cell][1]] === model) {
    const key = row.check + " " + row.cell;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  const used = checkOrder.filter(check => cells.some(({ index }) => groups.has(check + " " + index)));
  const runtimes = new Set(cells.map(({ cell }) => S[cell[4]]));
  const head = make("tr", null, make("th", { scope: "col" }, "check"));
  for (const { cell } of cells) {
    const label = S[cell[2]] + " " + S[cell[3]] + (runtimes.size > 1 ? " " + S[cell[4]] : "");
    head.append(make("th", { scope: "col" }, make("span", null, label)));
  }
  const body = make("tbody");
  for (const check of used) {
    const id = S[page.checks[check][0]];
    const line = make("tr", null, make("th", { scope: "row", title: S[page.checks[check][2]] }, id));
    for (const { cell, index } of cells) {
      const group = groups.get(check + " " + index);
      if (!group) { line.append(make("td", { class: "x" })); continue; }
      const verdict = group.map(row => row.verdict).reduce(worse);
      const bad = group.filter(row => row.verdict === verdict).length;
      const label = `${id}, ${S[cell[2]]} ${S[cell[3]]} ${S[cell[4]]}: ${bad} of ${group.length} ${WORDS[verdict]}`;
      const td = make("td", { class: "v" + verdict, tabindex: "-1", role: "gridcell", "aria-label": label, title: label }, verdict === 0 ? "·" : SIGNS[verdict]);
      if (filtered && !group.some(row => filtered.has(row.index))) td.classList.add("off");
      td.group = group;
      td.heading = S[cell[0]] + "::" + id;
      line.append(td);
    }
    body.append(line);
  }
  const table = make("table", { class: "map", role: "grid", "aria-label": "checks of " + model + " by form and runtime" }, make("thead", null, head), body);
  $("heat").replaceChildren(table);
  const first = table.querySelector("td.v1, td.v2") || table.querySelector("td:not(.x)");
  if (first) first.tabIndex = 0;
}
function enter(td) {
  if (td.group.length === 1) show(td.group[0]); else open(td.heading, td.group, null);
}
$("heat").addEventListener("click", event => {
  const td = event.target.closest("td");
  if (td && td.group) { rove(td); enter(td); }
});
function rove(td) {
  for (const old of $("heat").querySelectorAll("td[tabindex='0']")) old.tabIndex = -1;
  td.tabIndex = 0;
  td.focus();
}
$("heat").addEventListener("keydown", event => {
  const td = event.target.closest("td");
  if (!td || !td.group) return;
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); enter(td); return; }
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  if (!step) return;
  event.preventDefault();
  const lines = [...td.closest("tbody").rows];
  let y = lines.indexOf(td.parentElement), x = td.cellIndex;
  for (;;) {
    y += step[0]; x += step[1];
    const next = lines[y] && lines[y].cells[x];
    if (!next || x === 0) return;
    if (next.group) { rove(next); next.scrollIntoView({ block: "nearest", inline: "nearest" }); return; }
  }
});

// Filter and search.
const LIMIT = 200;
function search() {
  const words = $("query").value.toLowerCase().split(/\s+/).filter(Boolean), wanted = $("verdict").value;
  const idle = !words.length && wanted === "all";
  const found = rows.filter(row => (wanted === "all" || wanted === "red" && isRed(row) || wanted === String(row.verdict)) && words.every(word => row.lower.includes(word)));
  filtered = idle ? null : new Set(found.map(row => row.index));
  const list = $("found");
  list.replaceChildren();
  if (!idle) for (const row of found.slice(0, LIMIT)) {
    const button = make("button", { type: "button", class: "v" + row.verdict }, mark(row.verdict), " ", row.name);
    button.addEventListener("click", () => show(row));
    list.append(make("li", null, button));
  }
  list.hidden = !list.childElementCount;
  $("count").textContent = idle ? rows.length + " rows" : found.length + " of " + rows.length + " rows" + (found.length > LIMIT ? ", the first " + LIMIT + " shown" : "");
  draw();
}
let waiting = 0;
$("query").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
$("verdict").addEventListener("change", search);
document.addEventListener("keydown", event => {
  if (event.key === "/" && !dialog.open && !event.target.closest("input, select, textarea")) { event.preventDefault(); $("query").focus(); }
});

function follow() {
  const asked = location.hash.match(/^#(row|cell)=(.*)$/);
  if (!asked) return;
  let text = "";
  try { text = decodeURIComponent(asked[2]); } catch { return; }
  if (asked[1] === "row") { if (byName.has(text)) show(byName.get(text)); return; }
  const cell = page.cells.findIndex(cell => S[cell[0]] === text);
  if (cell < 0) return;
  model = S[page.cells[cell][1]];
  draw();
  open(text, rows.filter(row => row.cell === cell), null);
}
document.body.classList.add("scripted");
for (const element of document.querySelectorAll(".scripting")) element.hidden = false;
search();
addEventListener("hashchange", follow);
follow();
