// The page works without this script. With it, the table sorts and filters, and a click on a row
// makes it the baseline: differences and Student's intervals are computed anew from the seeds.
const report = JSON.parse(document.getElementById("report").textContent);
const table = document.querySelector("table.rows");
const body = table.tBodies[0];
const lines = [...body.rows];
const heads = [...table.tHead.rows[0].cells];
const level = 1 - report.confidence;
const SVG = "http://www.w3.org/2000/svg";
let chosen = null; // the row that a reader made the baseline
let crosses = () => true; // whether a row crosses all brushes

function number(value, digits, sign) {
  if (Number.isNaN(value)) return "nan";
  const plus = sign && (value > 0 || Object.is(value, 0)) ? "+" : "";
  if (digits > 8 || Math.abs(value) >= 1e9) return plus + value.toExponential(3);
  return plus + value.toFixed(digits);
}
function shown(found, digits, sign = true) {
  const [mean, low, high] = [found.mean, found.low, found.high].map((v) => number(v, digits, sign));
  return Number.isNaN(found.low) ? mean : `${mean} [${low}, ${high}]`;
}
const name = (row) => Object.values(report.rows[row].settings).join(", ") || "all runs";
const rowOf = (line) => Number(line.dataset.row);
const digitsOf = (metric) =>
  Number(heads.find((head) => head.dataset.metric === metric).dataset.digits);
const search = document.getElementById("filter");
const picker = document.getElementById("metric");

// -- sorting and filtering ----------------------------------------------------------------------
function key(line, column) {
  const head = heads[column], row = report.rows[rowOf(line)];
  const metric = head.dataset.metric;
  if (head.dataset.kind === "metric") return row.metrics[metric] ? row.metrics[metric].mean : null;
  if (head.dataset.kind === "difference") {
    const value = line.cells[column].dataset.mean || line.cells[column].textContent;
    return Number.isNaN(parseFloat(value)) ? 0 : parseFloat(value);
  }
  const text = line.cells[column].textContent;
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}
function sort(column) {
  const down = heads[column].getAttribute("aria-sort") === "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const sorted = lines.map((line) => [key(line, column), line]).sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === typeof b ? (a > b) - (a < b) : typeof a === "number" ? -1 : 1;
    return down ? -order : order;
  });
  body.append(...sorted.map(([, line]) => line));
  draw();
}
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const line of lines) {
    const content = Object.values(report.rows[rowOf(line)].settings).join(" ").toLowerCase();
    line.hidden = !crosses(rowOf(line)) || !words.every((word) => content.includes(word));
  }
  const left = lines.filter((line) => !line.hidden).length;
  document.getElementById("left").textContent =
    left < lines.length ? `${left} of ${lines.length} rows` : "";
  fade();
  draw();
}

// -- another baseline ---------------------------------------------------------------------------
const original = lines.map((line) => [...line.cells].map((cell) => cell.textContent));
const note = document.getElementById("note");
const plain = note.textContent;
function choose(row) {
  chosen = row === chosen ? null : row;
  table.classList.toggle("compared", chosen !== null || table.dataset.compared === "yes");
  lines.forEach((line, index) => {
    line.classList.toggle("chosen", rowOf(line) === chosen);
    line.setAttribute("aria-selected", String(rowOf(line) === chosen));
    heads.forEach((head, column) => {
      if (head.dataset.kind !== "difference") return;
      const cell = line.cells[column];
      for (const item of ["mean", "low", "high"]) delete cell.dataset[item];
      if (chosen === null) { cell.textContent = original[index][column]; return; }
      const found = paired(rowOf(line), chosen, head.dataset.metric);
      if (rowOf(line) === chosen) { cell.textContent = "baseline"; return; }
      if (!found) { cell.textContent = "-"; return; }
      for (const item of ["mean", "low", "high"]) cell.dataset[item] = found[item];
      const all = report.rows[rowOf(line)].metrics[head.dataset.metric].n === found.n;
      cell.textContent = shown(found, Number(head.dataset.digits)) + (all ? "" : ` (${found.n})`);
    });
  });
  note.textContent = chosen === null ? plain
    : `Δ: difference to ${name(chosen)}, paired by seed, and Student's interval. `
      + "Click the row again for the plan's own baseline.";
  runs();
  draw();
}
function link(job, text) {
  const there = document.createElement("a");
  there.href = "./" + job.folder.split("/").map(encodeURIComponent).join("/");
  there.textContent = text;
  there.title = `${job.folder}: ${job.status}${job.error ? `, ${job.error}` : ""}`;
  return there;
}
function runs() {
  const place = document.getElementById("runs");
  place.replaceChildren();
  if (chosen === null) return;
  place.append(`Runs of ${name(chosen)}: `);
  for (const job of report.jobs.filter((one) => one.row === chosen)) {
    place.append(link(job, `seed ${job.seed}`), " ");
  }
}

// -- the differences to it, as a picture --------------------------------------------------------
function add(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [item, value] of Object.entries(attributes)) element.setAttribute(item, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
function draw() {
  const figure = document.getElementById("explore");
  const every = lines.every((line) => !line.hidden);
  figure.hidden = chosen === null && every;
  if (figure.hidden) return;
  figure.querySelector("figcaption").textContent = chosen === null
    ? "The rows that are left: the mean over seeds, its 95 % interval (thick), and each seed "
      + "(orange; hover for its run)."
    : "Differences to the row that you chose: mean, 95 % interval (thick), the interval corrected "
      + "for the number of rows (thin; Holm), and each seed (orange; hover for its run). "
      + "Grey: not separable from 0.";
  const metric = picker.value;
  const digits = digitsOf(metric);
  const found = [...body.rows].filter((line) => !line.hidden && rowOf(line) !== chosen)
    .map((line) => ({ row: rowOf(line), ...paired(rowOf(line), chosen, metric) }))
    .filter((one) => Number.isFinite(one.mean)).slice(0, 40);
  if (chosen !== null) holm(found);
  const means = found.map((one) => one.mean).sort((a, b) => a - b);
  const middle = means[Math.floor(means.length / 2)];
  const ends = found.flatMap((one) => [one.low, one.high]).filter(Number.isFinite);
  const far = (ends.length ? ends : means).map((e) => Math.abs(e - middle)).sort((a, b) => a - b);
  const reach = 10 * far[Math.floor(far.length / 2)] || Math.abs(middle) || 1;
  const seeds = found.flatMap((one) => one.values);
  const inside = [...ends, ...means, ...seeds].filter((v) => Math.abs(v - middle) <= reach);
  let low = Math.min(...inside), high = Math.max(...inside);
  if (chosen !== null && (Math.max(low, -high) <= 1.5 * (high - low) || low === high)) {
    low = Math.min(low, 0);
    high = Math.max(high, 0);
  }
  const margin = 0.06 * (high - low) || Math.abs(low) || 1;
  low -= margin; high += margin;
  const left = 230, right = 540, width = 760, bottom = 26 + 24 * found.length;
  const x = (v) => left + (right - left) * (Math.min(Math.max(v, low), high) - low) / (high - low);
  const svg = document.createElementNS(SVG, "svg");
  const signed = chosen !== null;
  const seen = found.map((one) => `${name(one.row)}: ${shown(one, digits, signed)}`).join("; ");
  for (const [item, value] of Object.entries({ class: "forest", role: "img", width,
    height: bottom + 40, viewBox: `0 0 ${width} ${bottom + 40}`, "aria-label": seen })) {
    svg.setAttribute(item, value);
  }
  add(svg, "text", { x: 0, y: 15, "font-weight": "bold" }, 
    chosen === null ? metric : `Δ ${metric} to ${name(chosen)}`);
  add(svg, "line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
  const ticks = [low + margin, ...(signed ? [0] : []), high - margin];
  for (const value of ticks.filter((v) => v >= low && v <= high)) {
    if (value && Math.abs(x(value) - x(0)) < 50 && low < 0 && high > 0) continue;
    add(svg, "text", { class: "faint mid", x: x(value), y: bottom + 17 }, number(value, digits));
  }
  if (signed && low <= 0 && high >= 0) add(svg, "line", { class: "zero", x1: x(0), x2: x(0), y1: 22, y2: bottom });
  found.forEach((one, index) => {
    const y = 36 + 24 * index, kind = one.clear || !signed ? "" : "unclear";
    const text = name(one.row);
    add(svg, "text", { class: "end", x: left - 14, y: y + 4 },
      text.length > 32 ? `${text.slice(0, 16)}…${text.slice(-15)}` : text);
    for (const [a, b, wide] of [[...(one.wide || [NaN, NaN]), ""], [one.low, one.high, " thick"]]) {
      if (Number.isNaN(a)) continue;
      add(svg, "line", { class: kind + wide, x1: x(a), x2: x(b), y1: y, y2: y });
    }
    add(svg, "circle", { class: `dot ${kind}`, cx: x(one.mean), cy: y, r: 4 });
    one.seeds.forEach((seed, i) => {
      const job = report.jobs.find((each) => each.row === one.row && each.seed === seed);
      const dot = add(svg, "circle", { class: "seed", cx: x(one.values[i]), cy: y + 7, r: 3 });
      const settings = Object.entries(report.rows[one.row].settings).map((e) => e.join(" "));
      add(dot, "title", {}, [`seed ${seed}: ${number(one.values[i], digits, signed)}`, ...settings,
        ...(job ? [job.folder] : [])].join("\n"));
    });
    add(svg, "text", { class: "end faint", x: width, y: y + 4 }, shown(one, digits, signed));
  });
  figure.querySelector(".drawn").replaceChildren(svg);
}

// The pictures are images, in which <g id="rows-3-4.mean"> is what shows rows 3 and 4. They are
// changed as text, since a parsed picture would have to keep the policy of the page.
const images = [...document.querySelectorAll("figure img")].map((image) => {
  const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (letter) => letter.charCodeAt(0));
  return { image, plain: image.src, text: new TextDecoder().decode(bytes) };
}).filter(({ text }) => text.includes('id="rows-'));
function fade() {
  const left = new Set(lines.filter((line) => !line.hidden).map(rowOf));
  for (const { image, plain, text } of images) {
    const faded = text.replace(/<g id="rows-([-\d]+)\.[\w.]+"/g, (tag, rows) =>
      rows.split("-").some((row) => left.has(Number(row))) ? tag : `${tag} opacity="0.08"`);
    image.src = left.size === lines.length ? plain
      : `data:image/svg+xml,${encodeURIComponent(faded)}`;
  }
}

// -- what listens -------------------------------------------------------------------------------
heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  button.type = "button";
  head.replaceChildren(button);
  button.addEventListener("click", () => sort(column));
});
for (const line of lines) {
  line.tabIndex = 0;
  line.addEventListener("click", () => choose(rowOf(line)));
  line.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(rowOf(line)); }
  });
}
for (const metric of report.metrics) picker.append(new Option(metric, metric));
picker.addEventListener("change", draw);
search.addEventListener("input", filter);
document.querySelector(".controls").hidden = false;
// A page that is written while a plan runs, opened with #watch, shows its newest version, unless
// the reader has chosen something in this one.
const open = report.jobs.some(({ status }) => ["running", "planned", "missing"].includes(status));
if (open && location.hash === "#watch") {
  setInterval(() => {
    const untouched = chosen === null && lines.every((line) => !line.hidden);
    if (untouched && document.activeElement !== search) location.reload();
  }, 3000);
}
