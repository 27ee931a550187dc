// Charts of workloads: the same models under each, and the batches that were tried.
"use strict";

const workloads = (() => {
  const { CONFIG, byId, colour, escape_, layout, layoutAxis, threeDigits } = charting;

  // ---- side by side ----
  function drawSide(side) {
    const chart = byId(`${side.key}-chart`);
    chart.style.height = `${90 + side.names.length * (14 + 11 * side.columns.length)}px`;
    const measured = side.columns.flatMap(({ cells }) => cells.filter((cell) => cell && cell[0] !== null).map((cell) => cell[0]));
    const step = 0.72 / side.columns.length;
    const traces = side.columns.map(({ name, colour: mark, symbol, cells }, place) => {
      const drawn = side.names.map((spec, i) => ({ spec, i, cell: cells[i] })).filter(({ cell }) => cell && cell[0] !== null);
      const ends = (end) => drawn.map(({ cell }) => (cell[end] === null ? 0 : Math.abs(cell[end] - cell[0])));
      return {
        type: "scatter",
        mode: "markers",
        name: escape_(name),
        x: drawn.map(({ cell }) => cell[0]),
        y: drawn.map(({ i }) => i + (place - (side.columns.length - 1) / 2) * step),
        ids: drawn.map(({ spec }) => spec),
        marker: { color: mark, symbol, size: 9, line: { color: colour("--paper"), width: 1 } },
        error_x: { type: "data", symmetric: false, array: ends(2), arrayminus: ends(1), color: mark, thickness: 1.2, width: 3 },
        hovertext: drawn.map(({ spec, cell }) => `<b>${escape_(spec)}</b><br>${escape_(name)}: ${threeDigits(cell[0])} ms${cell[1] === null ? "" : ` [${threeDigits(cell[1])}–${threeDigits(cell[2])}]`}`),
        hoverinfo: "text",
      };
    });
    const axis = { name: "latency_ms", label: "Latency", kind: "ms" };
    const isLog = Math.max(...measured, 1e-9) / Math.min(...measured, Infinity) > 10;
    const x = layoutAxis(axis, axis.label, isLog, measured.map((latency_ms) => ({ latency_ms })));
    const y = { tickvals: side.names.map((_, i) => i), ticktext: side.names.map(escape_), range: [side.names.length - 0.5, -0.5], automargin: true, zeroline: false, gridcolor: colour("--line") };
    Plotly.react(chart, traces, { ...layout(x, y, 20), showlegend: true, legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 } }, CONFIG);
  }

  // ---- batches that were tried ----
  function drawBatches(run) {
    const sizes = run.batches.flatMap(({ trials }) => trials.map(([size]) => size));
    const powers = Array.from({ length: Math.floor(Math.log2(Math.max(...sizes))) + 1 }, (_, n) => 2 ** n);
    const traces = run.batches.map(({ name, trials, best, colour: mark, symbol, dash }) => ({
      type: "scatter",
      mode: "lines+markers",
      name: escape_(name),
      x: trials.map(([size]) => size),
      y: trials.map(([, rate]) => rate),
      line: { color: mark, dash, width: 1.6 },
      marker: { color: mark, symbol, size: trials.map(([size]) => (size === best ? 13 : 8)), line: { color: trials.map(([size]) => colour(size === best ? "--ink" : "--paper")), width: 2 } },
      hovertext: trials.map(([size, rate]) => `<b>${escape_(name)}</b><br>batch ${size}: ${threeDigits(rate)} samples/s`),
      hoverinfo: "text",
    }));
    const x = { ...layoutAxis({ name: "x", kind: "count" }, "Batch", false, []), type: "log", tickvals: powers, ticktext: powers.map(String) };
    const y = { ...layoutAxis({ name: "y", kind: "count" }, "Samples a second", false, []), rangemode: "tozero", tickformat: undefined };
    Plotly.react(byId(`${run.key}-batches-chart`), traces, { ...layout(x, y, 20), showlegend: true, legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 } }, CONFIG);
  }

  return { drawBatches, drawSide };
})();
