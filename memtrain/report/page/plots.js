"use strict";

/* What every page with plots needs. The script of a page defines drawAll, which draws its plots. */

const report = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = !matchMedia("(hover: hover)").matches;
const config = {
  responsive: true,
  displaylogo: false,
  displayModeBar: touch ? false : "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
};
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

function draw(id, plot, scale = "linear") {
  const figure = byId(id);
  if (!figure) return;
  figure.hidden = !plot;
  if (!plot) return;
  const layout = structuredClone(plot.layout);
  for (const [path, value] of Object.entries(plot.scales?.[scale] ?? {})) {
    const [axis, name] = path.split(".");
    layout[axis][name] = value;
  }
  const target = figure.querySelector(".plot");
  target.setAttribute("aria-label", plot.reading);
  figure.querySelector("figcaption").replaceChildren(...unbroken(plot.reading));
  if (printing) layout.width = PRINTED_WIDTH;
  if (plot.key) {
    layout.showlegend = false; /* the page has a key with meanings instead */
    fillKey(figure.querySelector(".key"), plot.key);
  }
  Plotly.react(target, plot.data, { ...layout, template: template() }, config);
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function fillKey(list, key) {
  const entries = key.map(([name, colour, meaning]) => {
    const entry = document.createElement("div");
    entry.style.setProperty("--role", colour);
    entry.append(element("dt", name), element("dd", meaning));
    return entry;
  });
  list.replaceChildren(...entries);
}

function toggleTheme() {
  const root = document.documentElement;
  const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  drawAll();
}

byId("theme").addEventListener("click", toggleTheme);
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
