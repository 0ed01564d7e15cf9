const [openingGroup, openingCell] = report.opening;
const chosen = { group: openingGroup, cell: openingCell, scale: "linear" };
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
  fillKept(cell.lives.kept);
}

function drawAll() {
  const group = report.groups[chosen.group];
  draw("trade", report.trade);
  for (const id of ["depth", "batch", "ratio", "fits"]) draw(id, group[id], chosen.scale);
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
byId("download").addEventListener("click", download);
fillRows();
choose(openingGroup, openingCell);
