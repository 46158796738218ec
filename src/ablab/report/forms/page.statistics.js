// Paired differences with Student's intervals, corrected after Holm, as Python computes them.
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
function paired(row, other, metric) { // without another row, that of its own values
  const ours = report.rows[row].per_seed[metric] || {};
  const theirs = other === null ? null : report.rows[other].per_seed[metric] || {};
  const seeds = Object.keys(ours).filter((seed) => !theirs || seed in theirs);
  const known = seeds.every((seed) => ours[seed] !== null && !(theirs && theirs[seed] === null));
  const values = seeds.map((seed) => (theirs ? ours[seed] - theirs[seed] : ours[seed]));
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
