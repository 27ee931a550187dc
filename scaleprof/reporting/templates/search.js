// A search's candidates: score with its interval against cost, and the front as a staircase.
"use strict";

const searches = (() => {
  const { CONFIG, byId, colour, escape_, layout, layoutAxis } = charting;
  const block = byId("scaleprof-searches");
  const parts = block ? JSON.parse(block.textContent) : [];

  const X = { name: "cost", kind: "count", ends: null };
  const Y = { name: "score", kind: "plain", ends: null };

  function pointsTrace({ label, colour: paint, symbol }, points) {
    const mark = paint === "currentColor" ? colour("--ink") : paint;
    return {
      type: "scatter",
      mode: "markers+text",
      name: label,
      x: points.map(({ cost }) => cost),
      y: points.map(({ score }) => score),
      ids: points.map(({ candidate }) => String(candidate)),
      text: points.map(({ shown }) => escape_(shown)),
      textposition: "middle right",
      textfont: { color: colour("--ink"), size: 12 },
      cliponaxis: false,
      marker: { color: mark, symbol, size: { star: 17, diamond: 12 }[symbol] ?? 10, line: { color: colour("--paper"), width: 1 } },
      error_y: {
        type: "data",
        symmetric: false,
        array: points.map(({ score, high }) => (high === null ? 0 : high - score)),
        arrayminus: points.map(({ score, low }) => (low === null ? 0 : score - low)),
        color: mark,
        thickness: 1.2,
        width: 3,
      },
      hovertext: points.map(({ hover }) => hover.map(escape_).join("<br>")),
      hoverinfo: "text",
    };
  }

  function drawOne(part) {
    const chart = byId(`${part.key}-chart`);
    if (!chart) return;
    const front = part.points.filter(({ on_front }) => on_front);
    const stair = {
      type: "scatter",
      name: "front",
      mode: "lines",
      x: front.map(({ cost }) => cost),
      y: front.map(({ score }) => score),
      line: { shape: "hv", color: colour("--soft"), width: 1.4 },
      hoverinfo: "skip",
    };
    const groups = part.styles.map((style) => pointsTrace(style, part.points.filter(({ style: name }) => name === style.name)));
    const axis = { ...X, kind: part.cost_kind };
    const x = layoutAxis(axis, part.cost_label, false, part.points);
    const y = layoutAxis(Y, escape_(part.score_label), false, part.points);
    Plotly.react(chart, [stair, ...groups.filter(({ x: values }) => values.length)], layout(x, y, 84), CONFIG);
  }

  function draw() {
    for (const part of parts) drawOne(part);
  }

  return { draw };
})();
