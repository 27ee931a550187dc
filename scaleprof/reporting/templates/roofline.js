// Models under the roof of the machine's ceilings, both axes logarithmic.
"use strict";

const rooflines = (() => {
  const { BASE_MARK, CONFIG, baseLabel, byId, colour, escape_, labelPositions, layout, layoutAxis, lineLabel, linesOf, pointTrace, shortValue, threeDigits } = charting;
  const X = { name: "batch_macs_per_byte", label: "MACs a byte", kind: "plain", ends: null };
  const Y = { name: "attained_macs_per_s", label: "MACs a second", kind: "count", ends: ["attained_ci_low_macs_per_s", "attained_ci_high_macs_per_s"] };
  const rate = (value) => `${shortValue(Y, value)}MAC/s`;
  const percent = (value) => threeDigits(100 * value);

  // The slope of the copy up to the ridge, then the matrix product's level; a little beyond the models on both sides.
  function roofTrace({ macs_per_s, bytes_per_s, ridge_macs_per_byte }, rows) {
    const all = [ridge_macs_per_byte, ...rows.map((row) => row[X.name])];
    const [low, high] = [Math.min(...all) / 2, Math.max(...all) * 2];
    return {
      type: "scatter",
      name: "roof",
      mode: "lines+text",
      x: [low, ridge_macs_per_byte, high],
      y: [low * bytes_per_s, macs_per_s, macs_per_s],
      line: { color: colour("--soft"), width: 1.6 },
      text: ["memory", "", "compute"],
      textposition: ["bottom right", "top center", "top left"],
      textfont: { color: colour("--soft"), size: 12 },
      hoverinfo: "skip",
    };
  }

  function hover(row) {
    const [low, high] = [row.ceiling_share_ci_low ?? null, row.ceiling_share_ci_high ?? null];
    const interval = low === null || high === null ? "" : ` [${percent(low)}–${percent(high)}]`;
    const share = `${percent(row.ceiling_share)}${interval} % of ${rate(row.ceiling_macs_per_s)} (${row.ceiling_bound})`;
    return `<b>${escape_(row.spec_id)}</b><br>${rate(row[Y.name])} at ${threeDigits(row[X.name])} MAC/byte<br>${share}`;
  }

  // Open symbols wait for launches.
  const opened = (waiting) => (rows, marker) => ({
    ...marker,
    symbol: rows.map((row) => (waiting.has(row) ? `${marker.symbol}-open` : marker.symbol)),
    line: { ...marker.line, width: rows.map((row) => (waiting.has(row) ? 2 : 1)) },
  });

  function draw(run) {
    if (!run.roofline) return;
    const shown = new Set(run.roofline.rows.map((i) => run.rows[i]));
    const waiting = new Set(run.roofline.waiting.map((i) => run.rows[i]));
    const lines = linesOf(run)
      .map(({ style, rows }) => ({ style, rows: rows.filter((row) => shown.has(row)) }))
      .filter(({ rows }) => rows.length);
    // Above and below a point are its whiskers.
    const positions = labelPositions(lines.map(({ rows }) => rows.at(-1)[Y.name]));
    const traces = lines.map(({ style, rows }, i) => ({
      ...pointTrace(style, rows, X, Y, {
        apart: style === BASE_MARK ? baseLabel(run) : (row) => (row === rows.at(-1) ? lineLabel(run, style) : ""),
        labelPosition: style === BASE_MARK ? "middle left" : positions[i],
        marked: opened(waiting),
      }),
      hovertext: rows.map(hover),
    }));
    const roof = roofTrace(run.roofline, [...shown]);
    const extent = [...shown, ...roof.x.map((x, i) => ({ [X.name]: x, [Y.name]: roof.y[i] }))];
    const [x, y] = [X, Y].map((axis) => layoutAxis(axis, axis.label, true, extent));
    Plotly.react(byId(`${run.key}-roofline`), [roof, ...traces], layout(x, y, 36), CONFIG);
  }

  return { draw };
})();
