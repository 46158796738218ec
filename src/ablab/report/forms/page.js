// The page works without this script. With it, the table sorts and filters, and a click on a row
// makes it the baseline: differences and Student's intervals are computed anew from the seeds.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const table = document.querySelector("table.rows");
  if (!table) return;
  const body = table.tBodies[0];
  const lines = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const level = 1 - report.confidence;
  const SVG = "http://www.w3.org/2000/svg";
  let chosen = null;

  // Student's distribution, by the continued fraction of the incomplete beta function.
  function logGamma(x) {
    // Stirling's series is exact to rounding from 15 on, so step up to it.
    let shift = 0;
    while (x < 15) shift -= Math.log(x++);
    const y = 1 / (x * x);
    const series = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x;
    return shift + (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series;
  }
  function fraction(a, b, x) {
    let c = 1, d = 1 - (a + b) * x / (a + 1), h;
    d = 1 / (Math.abs(d) < 1e-300 ? 1e-300 : d);
    h = d;
    for (let m = 1; m < 500; m++) {
      for (const k of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
        -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
        d = 1 + k * d; d = 1 / (Math.abs(d) < 1e-300 ? 1e-300 : d);
        c = 1 + k / c; c = Math.abs(c) < 1e-300 ? 1e-300 : c;
        h *= d * c;
      }
      if (Math.abs(d * c - 1) < 1e-16) break;
    }
    return h;
  }
  function beta(a, b, x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b)
      + a * Math.log(x) + b * Math.log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * fraction(a, b, x) / a
      : 1 - front * fraction(b, a, 1 - x) / b;
  }
  const twoSided = (t, df) => beta(df / 2, 0.5, df / (df + t * t));
  function quantile(p, df) { // the t that is exceeded, to either side, with chance p
    let low = 0, high = 1;
    while (twoSided(high, df) > p) high *= 2;
    for (let i = 0; i < 200 && low < high; i++) {
      const middle = (low + high) / 2;
      if (middle === low || middle === high) break;
      if (twoSided(middle, df) > p) low = middle; else high = middle;
    }
    return (low + high) / 2;
  }
  const quantiles = new Map();
  function half(n, std, p) {
    const key = `${n} ${p}`;
    if (!quantiles.has(key)) quantiles.set(key, quantile(p, n - 1));
    return quantiles.get(key) * std / Math.sqrt(n);
  }
  function sum(values) { // Neumaier's
    let total = 0, lost = 0;
    for (const value of values) {
      const next = total + value;
      lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
      total = next;
    }
    return total + lost;
  }
  function paired(row, other, metric) {
    const ours = report.rows[row].per_seed[metric] || {};
    const theirs = report.rows[other].per_seed[metric] || {};
    const seeds = Object.keys(ours).filter((seed) => seed in theirs);
    const known = seeds.every((seed) => ours[seed] !== null && theirs[seed] !== null);
    const values = seeds.map((seed) => ours[seed] - theirs[seed]);
    const n = seeds.length;
    if (!n) return null;
    if (!known) return { mean: NaN, low: NaN, high: NaN, std: NaN, n, seeds, values };
    const mean = sum(values) / n;
    if (n < 2) return { mean, low: NaN, high: NaN, std: NaN, n, seeds, values };
    const equal = values.every((value) => value === values[0]);
    const std = equal ? 0 : Math.sqrt(sum(values.map((v) => (v - mean) ** 2)) / (n - 1));
    const width = std ? half(n, std, level) : 0;
    return { mean, low: mean - width, high: mean + width, std, n, seeds, values };
  }
  function holm(found) { // adds p and the interval at the level at which Holm tests each
    const tested = found.filter((one) => !Number.isNaN(one.std));
    for (const one of tested) {
      one.p = one.std ? twoSided(one.mean / (one.std / Math.sqrt(one.n)), one.n - 1)
        : Number(one.mean === 0);
    }
    tested.sort((a, b) => a.p - b.p);
    let at = level / Math.max(tested.length, 1), called = true;
    tested.forEach((one, rank) => {
      if (called) {
        at = level / (tested.length - rank);
        called = one.p <= at;
      }
      const width = one.std ? half(one.n, one.std, at) : 0;
      one.clear = called;
      one.wide = [one.mean - width, one.mean + width];
    });
  }

  function number(value, digits, sign) {
    if (Number.isNaN(value)) return "nan";
    const plus = sign && (value > 0 || Object.is(value, 0)) ? "+" : "";
    if (digits > 8 || Math.abs(value) >= 1e9) return plus + value.toExponential(3);
    return plus + value.toFixed(digits);
  }
  function shown(found, digits) {
    const mean = number(found.mean, digits, true);
    if (Number.isNaN(found.low)) return mean;
    return `${mean} [${number(found.low, digits, true)}, ${number(found.high, digits, true)}]`;
  }
  const name = (row) => Object.values(report.rows[row].settings).join(", ") || "all runs";
  const rowOf = (line) => Number(line.dataset.row);

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
  function filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const line of lines) {
      const content = Object.values(report.rows[rowOf(line)].settings).join(" ").toLowerCase();
      line.hidden = !words.every((word) => content.includes(word));
    }
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
  const picker = document.getElementById("metric");
  function draw() {
    const figure = document.getElementById("explore");
    figure.hidden = chosen === null;
    if (chosen === null) return;
    const metric = picker.value;
    const digits = Number(heads.find((head) => head.dataset.metric === metric).dataset.digits);
    const found = [...body.rows].filter((line) => !line.hidden && rowOf(line) !== chosen)
      .map((line) => ({ row: rowOf(line), ...paired(rowOf(line), chosen, metric) }))
      .filter((one) => Number.isFinite(one.mean)).slice(0, 40);
    holm(found);
    const means = found.map((one) => one.mean).sort((a, b) => a - b);
    const middle = means[Math.floor(means.length / 2)];
    const ends = found.flatMap((one) => [one.low, one.high]).filter(Number.isFinite);
    const far = (ends.length ? ends : means).map((e) => Math.abs(e - middle)).sort((a, b) => a - b);
    const reach = 10 * far[Math.floor(far.length / 2)] || Math.abs(middle) || 1;
    const seeds = found.flatMap((one) => one.values);
    const inside = [...ends, ...means, ...seeds].filter((v) => Math.abs(v - middle) <= reach);
    let low = Math.min(...inside), high = Math.max(...inside);
    if (Math.max(low, -high) <= 1.5 * (high - low) || low === high) {
      low = Math.min(low, 0);
      high = Math.max(high, 0);
    }
    const margin = 0.06 * (high - low) || Math.abs(low) || 1;
    low -= margin; high += margin;
    const left = 230, right = 540, width = 760, bottom = 26 + 24 * found.length;
    const x = (v) => left + (right - left) * (Math.min(Math.max(v, low), high) - low) / (high - low);
    const svg = document.createElementNS(SVG, "svg");
    const seen = found.map((one) => `${name(one.row)}: ${shown(one, digits)}`).join("; ");
    for (const [item, value] of Object.entries({ class: "forest", role: "img", width,
      height: bottom + 40, viewBox: `0 0 ${width} ${bottom + 40}`, "aria-label": seen })) {
      svg.setAttribute(item, value);
    }
    add(svg, "text", { x: 0, y: 15, "font-weight": "bold" }, `Δ ${metric} to ${name(chosen)}`);
    add(svg, "line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
    for (const value of [low + margin, 0, high - margin].filter((v) => v >= low && v <= high)) {
      if (value && Math.abs(x(value) - x(0)) < 50 && low < 0 && high > 0) continue;
      add(svg, "text", { class: "faint mid", x: x(value), y: bottom + 17 }, number(value, digits));
    }
    if (low <= 0 && high >= 0) add(svg, "line", { class: "zero", x1: x(0), x2: x(0), y1: 22, y2: bottom });
    found.forEach((one, index) => {
      const y = 36 + 24 * index, kind = one.clear ? "" : "unclear";
      const text = name(one.row);
      add(svg, "text", { class: "end", x: left - 14, y: y + 4 },
        text.length > 32 ? `${text.slice(0, 16)}…${text.slice(-15)}` : text);
      if (one.wide) {
        for (const [a, b, wide] of [[...one.wide, ""], [one.low, one.high, " thick"]]) {
          add(svg, "line", { class: kind + wide, x1: x(a), x2: x(b), y1: y, y2: y });
        }
      }
      add(svg, "circle", { class: `dot ${kind}`, cx: x(one.mean), cy: y, r: 4 });
      one.seeds.forEach((seed, i) => {
        const job = report.jobs.find((each) => each.row === one.row && each.seed === seed);
        const dot = add(svg, "circle", { class: "seed", cx: x(one.values[i]), cy: y + 7, r: 3 });
        const settings = Object.entries(report.rows[one.row].settings).map((e) => e.join(" "));
        add(dot, "title", {}, [`seed ${seed}: ${number(one.values[i], digits, true)}`, ...settings,
          ...(job ? [job.folder] : [])].join("\n"));
      });
      add(svg, "text", { class: "end faint", x: width, y: y + 4 }, shown(one, digits));
    });
    figure.querySelector(".drawn").replaceChildren(svg);
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
  const search = document.getElementById("filter");
  search.addEventListener("input", () => filter(search.value));
  document.querySelector(".controls").hidden = false;
})();
