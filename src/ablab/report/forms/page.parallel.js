// Parallel coordinates: a line for each row through its settings and its mean. A brush on an axis
// keeps the rows that cross it, in the table and in all pictures.
const LEFT = 116, TOP = 40, BOTTOM = 250;
const brushes = new Map(); // axis -> the upper and lower end in pixels
const varying = report.keys.filter(
  (key) => new Set(report.rows.map((row) => row.settings[key])).size > 1);
const numeric = (key) => !["plan", "variant", "name"].includes(key)
  && report.rows.every(({ settings }) => settings[key] !== "" && Number.isFinite(+settings[key]));
const short = (text, most) =>
  text.length > most ? `${text.slice(0, most / 2)}…${text.slice(1 - most / 2)}` : text;

function axisOfSettings(key) {
  const values = report.rows.map(({ settings }) => numeric(key) ? +settings[key] : settings[key]);
  const own = [...new Set(values)];
  if (numeric(key)) own.sort((a, b) => a - b);
  if (own.length <= 12 || !numeric(key)) { // the values of a grid stand at equal distances
    const step = (BOTTOM - TOP) / Math.max(own.length - 1, 1);
    const every = Math.ceil(own.length / 16);
    const y = own.map((_, index) => BOTTOM - step * index);
    const ticks = own.map((value, index) => [y[index], `${value}`]).filter((_, i) => i % every === 0);
    return { key, ticks, y: values.map((value) => y[own.indexOf(value)]) };
  }
  const low = own[0], high = own[own.length - 1];
  const log = low > 0 && own[Math.floor(own.length / 2)] - low < 0.15 * (high - low);
  return { key, ...continuous(values, low, high, log, (v) => `${Number(v.toPrecision(3))}`) };
}
function axisOfMetric(metric) {
  const means = report.rows.map((row) => row.metrics[metric] ? row.metrics[metric].mean : null);
  const known = means.filter((mean) => mean !== null).sort((a, b) => a - b);
  if (!known.length) return null;
  let [low, high] = [known[0], known[known.length - 1]];
  const middle = known[Math.floor(known.length / 2)];
  // A far row, such as one that diverged, must not flatten the others: it stands at the end.
  if (report.directions[metric] === "max") low = Math.max(low, middle - 1.5 * (high - middle));
  else high = Math.min(high, middle + 1.5 * (middle - low));
  if (low === high) [low, high] = [known[0], known[known.length - 1]];
  return { key: metric, ...continuous(means, low, high, false, (v) => number(v, digitsOf(metric))) };
}
function continuous(values, low, high, log, text) {
  const [from, to] = log ? [Math.log(low), Math.log(high)] : [low, high];
  const share = (v) => to > from ? ((log ? Math.log(v) : v) - from) / (to - from) : 0.5;
  const y = (v) => BOTTOM - (BOTTOM - TOP) * Math.min(Math.max(share(v), 0), 1);
  const at = (s) => log ? Math.exp(from + s * (to - from)) : from + s * (to - from);
  const ticks = (to > from ? [0, 0.25, 0.5, 0.75, 1] : [0.5]).map((s) => [y(at(s)), text(at(s))]);
  return { ticks, y: values.map((value) => value === null ? null : y(value)) };
}

let axes = [];
crosses = (row) => axes.every((axis) => {
  const brush = brushes.get(axis.key);
  if (!brush) return true;
  return axis.y[row] !== null && axis.y[row] >= brush[0] - 3 && axis.y[row] <= brush[1] + 3;
});
function colour(rank) { // from blue to orange, which the colour-blind can tell apart
  const mixed = [[0, 114, 178], [213, 94, 0]].reduce((a, b) => a.map((v, i) => v + rank * (b[i] - v)));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}
function drawParallel() {
  const figure = document.getElementById("parallel");
  const last = axisOfMetric(picker.value);
  figure.hidden = varying.length < 2 || !last;
  if (figure.hidden) return;
  axes = [...varying.map(axisOfSettings), last];
  for (const key of brushes.keys()) if (!axes.some((axis) => axis.key === key)) brushes.delete(key);
  const svg = document.createElementNS(SVG, "svg");
  const width = Math.max(800, 130 * axes.length), gap = (width - LEFT - 80) / (axes.length - 1);
  for (const [item, value] of Object.entries({ class: "forest parallel", width, height: BOTTOM + 20,
    viewBox: `0 0 ${width} ${BOTTOM + 20}`, role: "group", "aria-label": "Parallel coordinates" })) {
    svg.setAttribute(item, value);
  }
  const x = (index) => LEFT + gap * index;
  const up = report.directions[picker.value] === "max" ? -1 : 1;
  const mean = (row) => up * report.rows[row].metrics[picker.value].mean;
  const known = report.rows.map((_, row) => row).filter((row) => last.y[row] !== null)
    .sort((a, b) => mean(a) - mean(b));
  const order = [...report.rows.keys()].filter((row) => last.y[row] === null)
    .concat([...known].reverse()); // the best lies on top
  for (const row of order) {
    const points = axes.map((axis, i) => [x(i), axis.y[row]]).filter(([, y]) => y !== null);
    const rank = known.indexOf(row) / Math.max(known.length - 1, 1);
    const line = add(svg, "polyline", { class: rank < 0 ? "row none" : "row", "data-of": row,
      points: points.map((point) => point.join(",")).join(" "),
      ...(rank < 0 ? {} : { stroke: colour(rank) }) });
    const settings = Object.entries(report.rows[row].settings).map((entry) => entry.join(" "));
    const value = rank < 0 ? "no value" : number(up * mean(row), digitsOf(picker.value));
    add(line, "title", {}, [...settings, `${picker.value} ${value}`].join("\n"));
    line.addEventListener("click", () => choose(row));
  }
  axes.forEach((axis, index) => drawAxis(svg, axis, x(index), index === axes.length - 1));
  figure.querySelector(".drawn").replaceChildren(svg);
  brushed();
}
function drawAxis(svg, axis, x, isLast) {
  const arrow = { min: " ↓", max: " ↑" }[report.directions[axis.key]] || "";
  add(svg, "text", { class: "mid", x, y: 16, "font-weight": "bold" },
    isLast ? axis.key + arrow : short(axis.key.split(".").slice(-2).join("."), 18));
  add(svg, "line", { class: "axis", x1: x, x2: x, y1: TOP, y2: BOTTOM });
  const place = isLast ? { x: x + 8 } : { x: x - 8, class: "end" };
  for (const [y, text] of axis.ticks) add(svg, "text", { ...place, y: y + 4 }, short(text, 14));
  const brush = add(svg, "rect", { class: "brush", x: x - 7, width: 14 });
  const area = add(svg, "rect", { class: "area", x: x - 30, width: 60, y: TOP - 14,
    height: BOTTOM - TOP + 28, tabindex: 0, role: "button", "data-axis": axis.key });
  axis.brush = brush;
  axis.area = area;
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return (event.clientY - box.top) * (BOTTOM + 20) / box.height;
  };
  let start = null;
  area.addEventListener("pointerdown", (event) => {
    start = at(event);
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    if (start !== null) set(axis, [start, at(event)].sort((a, b) => a - b));
  });
  area.addEventListener("pointerup", (event) => {
    if (Math.abs(at(event) - start) < 4) set(axis, null);
    start = null;
    filter();
  });
  area.addEventListener("keydown", (event) => { // the arrows take one value after the other
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key !== "Escape" && !step) return;
    event.preventDefault();
    const places = [...new Set(axis.y)].filter((y) => y !== null).sort((a, b) => a - b);
    const now = places.indexOf((brushes.get(axis.key) || [NaN])[0] + 2);
    const next = places[now < 0 ? (step > 0 ? 0 : places.length - 1) : now + step];
    set(axis, step && next !== undefined ? [next - 2, next + 2] : null);
    filter();
  });
}
function set(axis, range) {
  if (range) brushes.set(axis.key, range); else brushes.delete(axis.key);
  brushed();
}
function brushed() {
  for (const axis of axes) {
    const [top, bottom] = brushes.get(axis.key) || [0, 0];
    axis.brush.setAttribute("y", top);
    axis.brush.setAttribute("height", bottom - top);
    const inside = axis.ticks.filter(([y]) => y >= top - 3 && y <= bottom + 3).map(([, text]) => text);
    axis.area.setAttribute("aria-label",
      `${axis.key}: ${bottom ? inside.join(", ") || "between two values" : "all"}`);
  }
  for (const line of document.querySelectorAll("#parallel .row")) {
    line.classList.toggle("off", !crosses(Number(line.dataset.of)));
  }
}
picker.addEventListener("change", () => { drawParallel(); filter(); });
drawParallel();
