// Pinned models: how their single passes spread, and what a model costs beside the baseline.
"use strict";

const pinning = (() => {
  const { CONFIG, byId, colour, escape_, layout, layoutAxis, shortValue, styleOf, threeDigits, usable } = charting;
  const MOST = 12;
  const LATENCY = { name: "latency_ms", label: "Latency", kind: "ms" };
  // Of passes, in thousandths: what a glyph's thin line, line and box reach from and to, and how wide they are.
  const PARTS = [[0, 6, 1.2], [1, 5, 3], [2, 4, 11]];

  // ---- beside the baseline, in the words of reporting/baseline.py ----
  function baselineOf(run, row) {
    const isIt = (other) => (run.baseline.spec_id === null ? other.model === row.model && other.strategy === "base" : other.spec_id === run.baseline.spec_id);
    return run.rows.find((other) => usable(other) && isIt(other));
  }

  const ratioOf = (run, row) => run.baseline.ratios[run.rows.indexOf(row)];

  function against(run, row) {
    const base = baselineOf(run, row);
    if (!base) return null;
    if (base === row) return `${row.spec_id} is the baseline.`;
    const parts = [latencyWords(ratioOf(run, row))];
    for (const [name, noun] of [["macs", "MACs"], ["peak_memory_bytes", "peak memory"]]) {
      if (row[name] && base[name]) parts.push(`${threeDigits(row[name] / base[name])} times its ${noun}`);
    }
    const [accuracy, before] = [row.accuracy ?? null, base.accuracy ?? null];
    if (accuracy !== null && before !== null) {
      const errors = [row.accuracy_error ?? null, base.accuracy_error ?? null];
      const error = errors.includes(null) ? "" : ` ± ${budgeting.fixed(Math.hypot(...errors), 1)}`;
      parts.push(`${accuracy < before ? "-" : "+"}${budgeting.fixed(Math.abs(accuracy - before), 1)}${error} points of accuracy, which was not measured here`);
    }
    return `Against the baseline ${base.spec_id} (${shortValue(LATENCY, base.latency_ms)}): ${parts.join(", ")}.`;
  }

  function latencyWords(ratio) {
    if (!ratio) return "no shared rounds to compare latencies in";
    const [value, low, high] = ratio;
    if (low === null) return `${threeDigits(value)} [?] times as long, undecided`;
    const text = `${threeDigits(value)} [${threeDigits(low)}–${threeDigits(high)}] times as long`;
    return low <= 1 && 1 <= high ? `${text}, undecided` : text;
  }

  // Ratios to the baseline for a list: "3.03 [2.99–3.05] × base's time, 4.10 × its MACs".
  function ratioText(run, row) {
    const ratio = ratioOf(run, row);
    const base = baselineOf(run, row);
    if (!ratio || !base || base === row) return "";
    const [value, low, high] = ratio;
    const interval = low === null ? " [?]" : ` [${threeDigits(low)}–${threeDigits(high)}]`;
    const macs = row.macs && base.macs ? `, ${threeDigits(row.macs / base.macs)} × its MACs` : "";
    return `${threeDigits(value)}${interval} × ${base.strategy === "base" ? "base" : "baseline"}'s time${macs}`;
  }

  // ---- spread of single passes ----
  function spreadWords(name, [quantiles, medians, count]) {
    const [, low, , middle, , high] = quantiles.map(threeDigits);
    const sorted = [...medians].sort((a, b) => a - b);
    const launches = sorted.length > 1 ? `; launches' medians ${threeDigits(sorted[0])}–${threeDigits(sorted.at(-1))} ms` : "";
    return `${name}: half of ${count} ${count === 1 ? "pass" : "passes"} within ${middle} ms, nine in ten between ${low} and ${high} ms${launches}.`;
  }

  function drawSpread(run) {
    const chart = byId(`${run.key}-spread`);
    const pinned = [...run.pinned].filter((i) => run.spreads[i]).slice(0, MOST);
    chart.style.height = `${80 + 34 * Math.max(pinned.length, 1)}px`;
    const names = pinned.map((i) => run.rows[i].spec_id);
    const left = run.pinned.size - pinned.length;
    byId(`${run.key}-words-spread`).textContent = pinned.length
      ? [...pinned.map((i) => spreadWords(run.rows[i].spec_id, run.spreads[i])), ...(left ? [`${left} more pinned models are not drawn.`] : [])].join(" ")
      : "No model is pinned.";
    const ends = pinned.flatMap((i) => [run.spreads[i][0][0], run.spreads[i][0].at(-1)]);
    const isLog = Math.max(...ends, 1e-9) / Math.min(...ends, Infinity) > 10;
    const x = pinned.length ? layoutAxis(LATENCY, "Latency of single passes", isLog, ends.map((latency_ms) => ({ latency_ms }))) : { visible: false };
    const y = { tickvals: names.map((_, n) => n), ticktext: names.map(escape_), range: [names.length - 0.5, -0.5], automargin: true, zeroline: false, showgrid: false };
    Plotly.react(chart, pinned.flatMap((i, n) => glyph(run, i, n)), { ...layout(x, y, 20), hovermode: "closest" }, CONFIG);
  }

  function glyph(run, i, n) {
    const [quantiles, medians, , samples] = run.spreads[i];
    const style = styleOf(run, run.rows[i]);
    const paint = style.colour || colour("--ink");
    const hover = escape_(spreadWords(run.rows[i].spec_id, run.spreads[i]));
    const line = ([from, to, width]) => ({ type: "scatter", mode: "lines", x: [quantiles[from], quantiles[to]], y: [n, n], line: { color: paint, width }, opacity: width > 5 ? 0.55 : 1, hoverinfo: "skip" });
    const marks = (x, y, marker, name) => ({ type: "scatter", mode: "markers", name, x, y, marker, hovertext: x.map(() => hover), hoverinfo: "text" });
    const middle = marks([quantiles[3]], [n], { color: paint, symbol: style.symbol, size: 11, line: { color: colour("--paper"), width: 1.2 } }, "median");
    middle.ids = [run.rows[i].spec_id];
    const ticks = marks(medians, medians.map(() => n), { symbol: "line-ns", size: 17, line: { color: colour("--ink"), width: 1.6 } }, "launches");
    return [...(samples ? [dots(samples, n, paint)] : []), ...PARTS.map(line), ticks, middle];
  }

  // Single samples, spread a little so that equal ones do not hide each other; launches lie one below the other.
  function dots(samples, n, paint) {
    const height = (launch, k) => n + 0.16 + (0.22 * launch) / samples.length + 0.05 * ((k * 0.618) % 1);
    return {
      type: "scatter",
      mode: "markers",
      name: "samples",
      x: samples.flat(),
      y: samples.flatMap((launch, l) => launch.map((_, k) => height(l, k))),
      marker: { color: paint, size: 3, opacity: 0.5 },
      hoverinfo: "skip",
    };
  }

  return { against, drawSpread, ratioText };
})();
