"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = !matchMedia("(hover: hover)").matches;
const config = {
  responsive: true,
  displaylogo: false,
  displayModeBar: touch ? false : "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
};
const [openingGroup, openingCell] = report.opening;
const chosen = { group: openingGroup, cell: openingCell, scale: "linear" };
const PRINTED_WIDTH = 660; /* of a figure on a page of A4 paper, in px */
let printing = false;
const byId = (id) => document.getElementById(id);

/* The style sheet defines the colours; plotly takes them from there. */
function template() {
  const style = getComputedStyle(document.documentElement);
  const [ink, faint, line, card] = ["ink", "faint", "line", "card"].map((name) => style.getPropertyValue(`--${name}`));
  const family = "system-ui, sans-serif";
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, ticks: "outside", tickcolor: line };
  return {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family, size: 13 },
      hoverlabel: { bgcolor: card, bordercolor: faint, align: "left", font: { color: ink, family, size: 12 } },
      xaxis: axis,
      yaxis: axis,
      annotationdefaults: { arrowcolor: ink },
      dragmode: touch ? false : "zoom", /* a finger must be able to scroll the page */
    },
  };
}

/* A line never ends within a derivative such as ∂L/∂h. */
function unbroken(text) {
  return text.split(/(∂[^\s,.;)]+)/).map((part, index) => (index % 2 ? element("span", part, "whole") : part));
}

function draw(id, plot) {
  const figure = byId(id);
  if (!figure) return;
  figure.hidden = !plot;
  if (!plot) return;
  const layout = structuredClone(plot.layout);
  for (const [path, value] of Object.entries(plot.scales?.[chosen.scale] ?? {})) {
    const [axis, name] = path.split(".");
    layout[axis][name] = value;
  }
  const target = figure.querySelector(".plot");
  target.setAttribute("aria-label", plot.reading);
  figure.querySelector("figcaption").replaceChildren(...unbroken(plot.reading));
  if (printing) layout.width = PRINTED_WIDTH;
  if (plot.key) layout.showlegend = false; /* the page has a key with meanings instead */
  Plotly.react(target, plot.data, { ...layout, template: template() }, config);
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function fillKey(key) {
  const entries = key.map(([name, colour, meaning]) => {
    const entry = document.createElement("div");
    entry.style.setProperty("--role", colour);
    entry.append(element("dt", name), element("dd", meaning));
    return entry;
  });
  document.querySelector("#timeline .key").replaceChildren(...entries);
}

function fillKept(lines) {
  const table = byId("kept");
  table.parentElement.hidden = !lines.length;
  const rows = lines.map((texts) => {
    const row = document.createElement("tr");
    texts.forEach((text, index) => {
      const words = index === 0 || index === texts.length - 1;
      const cell = element("td", "", words ? "text" : "");
      cell.append(words ? element("div", text) : text);
      row.append(cell);
    });
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}

function drawCell() {
  const cell = report.groups[chosen.group].cells[chosen.cell];
  draw("timeline", cell.timeline);
  draw("lives", cell.lives);
  fillKey(cell.timeline.key);
  fillKept(cell.lives.kept);
}

function drawAll() {
  const group = report.groups[chosen.group];
  draw("trade", report.trade);
  for (const id of ["depth", "batch", "ratio", "fits"]) draw(id, group[id]);
  drawCell();
}

function choose(group, cell = report.groups[group].opening) {
  chosen.group = group;
  chosen.cell = cell;
  for (const select of document.querySelectorAll("[data-group]")) select.value = group;
  byId("cell").replaceChildren(...report.groups[group].cells.map((cell, index) => new Option(cell.name, index)));
  byId("cell").value = chosen.cell;
  drawAll();
}

function setScale(name) {
  chosen.scale = name;
  for (const button of document.querySelectorAll("[data-scale]"))
    button.setAttribute("aria-pressed", button.dataset.scale === name);
  drawAll();
}

function toggleTheme() {
  const root = document.documentElement;
  const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  drawAll();
}

function fillRows() {
  const table = byId("rows");
  const head = table.createTHead().insertRow();
  for (const [name, about] of report.columns) {
    const cell = element("th", name);
    cell.scope = "col";
    cell.title = about;
    head.append(cell);
  }
  const body = table.createTBody();
  const status = report.columns.findIndex(([name]) => name === "status");
  for (const values of report.rows) {
    const row = body.insertRow();
    if (values[status] !== "ok") row.className = "failed";
    for (const value of values) row.insertCell().textContent = value;
  }
}

function csv() {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const names = report.columns.map(([name]) => name);
  return [names, ...report.rows].map((values) => values.map(quoted).join(",") + "\n").join("");
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "memtrain.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const select of document.querySelectorAll("[data-group]"))
  select.addEventListener("change", (event) => choose(Number(event.target.value)));
byId("cell").addEventListener("change", (event) => {
  chosen.cell = Number(event.target.value);
  drawCell();
});
for (const button of document.querySelectorAll("[data-scale]"))
  button.addEventListener("click", () => setScale(button.dataset.scale));
byId("theme").addEventListener("click", toggleTheme);
byId("download").addEventListener("click", download);
dark.addEventListener("change", drawAll);
let themeOnScreen;
addEventListener("beforeprint", () => {
  themeOnScreen = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light"; /* paper is white */
  printing = true;
  drawAll();
});
addEventListener("afterprint", () => {
  if (themeOnScreen === undefined) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = themeOnScreen;
  printing = false;
  drawAll();
  for (const plot of document.querySelectorAll("figure:not([hidden]) .plot")) Plotly.Plots.resize(plot);
});
fillRows();
choose(openingGroup, openingCell);
