// What all charts share: units, axes, labels, traces of points, and the key above them. Decides nothing.
"use strict";

const charting = (() => {
  const MIB = 2 ** 20;
  const CONFIG = {
    displaylogo: false,
    showSendToCloud: false,
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  };
  const BASE_MARK = { name: "base", colour: null, symbol: "star", dash: "solid" };
  const { threeDigits } = budgeting;
  const byId = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- values ----
  // Rows from columns: what all rows share stands once, and so do the names.
  function rowsOf({ count, constants, columns }) {
    const names = Object.keys(columns);
    return Array.from({ length: count }, (_, i) => names.reduce((row, name) => Object.assign(row, { [name]: columns[name][i] }), { ...constants }));
  }

  const has = (...axes) => (row) => axes.every(({ name }) => (row[name] ?? null) !== null);
  const axisOf = (run, name) => run.axes.find((axis) => axis.name === name);
  const plotted = (axis, value) => (value === null || value === undefined ? null : axis.kind === "bytes" ? value / MIB : value);
  const unitOf = (axis) => ({ ms: " (ms)", bytes: " (MiB)", percent: " (%)", joules: " (J)", rate: " (samples/s)" })[axis.kind] || "";
  const usable = (row) => row.status === "ok" || row.status === "unstable";

  // plotly's own logarithmic ticks leave out the powers ("2, 5, 100, 2"); these are written in full.
  function logTicks(axis, values) {
    const [low, high] = [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const digit of [1, 2, 5]) {
        const tick = digit * 10 ** power;
        if (tick >= low && tick <= high) ticks.push(Number(tick.toPrecision(1)));
      }
    }
    if (ticks.length < 2) ticks.splice(0, ticks.length, ...[Math.min(...values), Math.max(...values)].map((value) => Number(value.toPrecision(2))));
    const text = (tick) => (axis.kind === "count" ? shortValue(axis, tick).replace(/\.0+(?= )/, "") : String(tick));
    return { tickvals: ticks, ticktext: ticks.map(text) };
  }

  function layoutAxis(axis, label, isLog, rows) {
    const values = rows.map((row) => plotted(axis, row[axis.name])).filter((value) => value > 0);
    return {
      ...(isLog ? logTicks(axis, values) : {}),
      title: { text: label + unitOf(axis), standoff: 8 },
      type: isLog ? "log" : "linear",
      tickformat: axis.kind === "count" ? "~s" : undefined,
      gridcolor: colour("--line"),
      linecolor: colour("--soft"),
      zeroline: false,
      automargin: true,
    };
  }

  function layout(x, y, roomRight = 84) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 13 },
      margin: { l: 68, r: roomRight, t: 22, b: 56 },
      showlegend: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--soft"), font: { color: colour("--ink") } },
      xaxis: x,
      yaxis: y,
    };
  }

  function hoverText(row, ...axes) {
    const parts = axes.map((axis) => `${escape_(axis.label)}: ${shortValue(axis, row[axis.name])}${intervalText(axis, row)}`);
    return `<b>${escape_(row.spec_id)}</b><br>${parts.join("<br>")}`;
  }

  // plotly reads a small set of tags in its texts; names are data and must not be read as tags.
  const escape_ = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  // The interval of a time, whose unit does not change from one end to the other.
  function intervalText(axis, row) {
    if (axis.kind !== "ms" || !axis.ends) return "";
    const [low, high] = axis.ends.map((end) => row[end] ?? null);
    return low === null || high === null ? "" : ` [${threeDigits(low)}–${threeDigits(high)}]`;
  }

  function shortValue(axis, value) {
    if (value === null || value === undefined) return "–";
    if (axis.kind === "bytes") return `${threeDigits(value / MIB)} MiB`;
    if (axis.kind === "ms") return `${threeDigits(value)} ms`;
    if (axis.kind === "percent") return `${value.toFixed(1)} %`;
    if (axis.kind === "joules") return `${threeDigits(value)} J`;
    if (axis.kind === "rate") return `${threeDigits(value)} samples/s`;
    if (axis.kind === "plain") return String(value);
    const step = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => value >= size);
    return step ? `${threeDigits(value / step[0])} ${step[1]}` : String(value);
  }

  // ---- traces ----
  // A line of points. Options: `faded(row)`, `apart(row)` for points with names of their own instead of a line,
  // `label` at its end, `labelPosition`, `lines` for a curve, `marked(rows, marker)` to draw points otherwise.
  function pointTrace(style, rows, x, y, options) {
    const mark = style.colour || colour("--ink");
    const marker = {
      color: mark,
      symbol: style.symbol,
      size: { star: 15, "triangle-up": 12, "triangle-down": 12, "triangle-left": 12, "triangle-right": 12 }[style.symbol] || 10,
      opacity: rows.map((row) => (options.faded && options.faded(row) ? 0.5 : 1)),
      line: { color: colour("--paper"), width: 1 },
    };
    const trace = {
      type: "scatter",
      name: style.name,
      x: rows.map((row) => plotted(x, row[x.name])),
      y: rows.map((row) => plotted(y, row[y.name])),
      ids: rows.map((row) => row.spec_id),
      mode: rows.length > 1 && !options.apart ? "lines+markers+text" : "markers+text",
      line: { color: mark, dash: style.dash, width: options.lines ? 1.6 : 0.8 },
      marker: options.marked ? options.marked(rows, marker) : marker,
      text: rows.map((row, i) => (options.apart ? escape_(options.apart(row)) : i === rows.length - 1 ? escape_(options.label ?? style.name) : "")),
      textposition: options.labelPosition || "top center",
      textfont: { color: colour("--ink"), size: 12 },
      cliponaxis: false,
      hovertext: rows.map((row) => hoverText(row, x, y)),
      hoverinfo: "text",
    };
    for (const [axis, whiskers] of [[x, "error_x"], [y, "error_y"]]) {
      const { ends } = axis;
      if (!ends || rows.every((row) => (row[ends[0]] ?? null) === null)) continue;
      const distance = (row, end) => ((row[end] ?? null) === null ? 0 : Math.abs(plotted(axis, row[end]) - plotted(axis, row[axis.name])));
      trace[whiskers] = {
        type: "data",
        symmetric: false,
        array: rows.map((row) => distance(row, ends[1])),
        arrayminus: rows.map((row) => distance(row, ends[0])),
        color: mark,
        thickness: 1.2,
        width: 3,
      };
    }
    return trace;
  }

  function linesOf(run) {
    const isBase = (row) => row.strategy === "base";
    const styled = run.lines.map((line) => ({ style: line, rows: line.rows.map((i) => run.rows[i]).filter((row) => !isBase(row)) }));
    return [...styled, { style: BASE_MARK, rows: run.rows.filter((row) => isBase(row) && usable(row)) }];
  }

  // How a row's line is drawn.
  const styleOf = (run, row) => run.lines.find((line) => line.rows.includes(run.rows.indexOf(row)) && row.strategy !== "base") ?? BASE_MARK;

  // Bases are points of their own; where there are several models, each base is called by its model, and the
  // lines, too many to be labelled, are told apart by the key above the chart.
  const hasSeveral = (run) => new Set(run.rows.map((row) => row.model)).size > 1;
  const baseLabel = (run) => (row) => (hasSeveral(run) ? row.model : BASE_MARK.name);
  const lineLabel = (run, style) => (hasSeveral(run) ? "" : style.name);

  // Labels of lines that end side by side (matched models do) stand above the upper and below the lower.
  function endPositions(xs, ys) {
    const order = xs.map((x, i) => [x, i]).sort(([a], [b]) => a - b);
    const positions = xs.map(() => "top center");
    order.slice(1).forEach(([x, i], n) => {
      const [before, j] = order[n];
      const level = Math.abs(Math.log(ys[i] / ys[j])) < 0.25;
      if (level && x / before < 1.4 && positions[j] === "top center") positions[ys[i] < ys[j] ? i : j] = "bottom center";
    });
    return positions;
  }

  // Labels of lines that end close together are pushed apart: the upper one up, the lower one down.
  function labelPositions(ends) {
    const order = ends.map((value, i) => [value, i]).sort(([a], [b]) => a - b);
    const positions = ends.map(() => "middle right");
    order.slice(1).forEach(([value, i], n) => {
      const [below, j] = order[n];
      if (value / below < 1.18) {
        positions[i] = "top right";
        if (positions[j] === "middle right") positions[j] = "bottom right";
      }
    });
    return positions;
  }

  // ---- the key ----
  const SHAPES = {
    circle: '<circle cx="17" cy="7" r="5"/>',
    square: '<rect x="12" y="2" width="10" height="10"/>',
    diamond: '<path d="M17 1l6 6-6 6-6-6z"/>',
    "triangle-up": '<path d="M17 1l6 11H11z"/>',
    cross: '<path d="M15 1h4v4h4v4h-4v4h-4V9h-4V5h4z"/>',
    x: '<path d="M13 1l4 4 4-4 2 2-4 4 4 4-2 2-4-4-4 4-2-2 4-4-4-4z"/>',
    pentagon: '<path d="M17 1l6 5-2 7h-8l-2-7z"/>',
    hexagon: '<path d="M14 2h6l3 5-3 5h-6l-3-5z"/>',
    "triangle-down": '<path d="M11 2h12l-6 11z"/>',
    "triangle-left": '<path d="M23 1v12L12 7z"/>',
    "triangle-right": '<path d="M11 1v12l11-6z"/>',
    bowtie: '<path d="M11 2l6 5 6-5v10l-6-5-6 5z"/>',
    star: '<path d="M17 0l2 5h5l-4 3 2 6-5-4-5 4 2-6-4-3h5z"/>',
    none: "",
  };
  const DASHES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "10 4", longdashdot: "10 3 2 3" };

  function drawKey(svg) {
    const { symbol, dash, colour: paint } = svg.dataset;
    const stair = '<path d="M2 12h10V7h10V2h10" fill="none" stroke-width="1.6"/>';
    const line = `<path d="M0 7h34" stroke-width="1.6" stroke-dasharray="${DASHES[dash] ?? ""}"/>`;
    svg.setAttribute("fill", paint);
    svg.setAttribute("stroke", paint);
    const [shape, how] = symbol.split(/-(?=open|crossed|framed)/);
    if (how === "open" || how === "crossed") svg.setAttribute("fill", "none");
    const over = { crossed: '<path d="M14 4l6 6M20 4l-6 6"/>', framed: '<circle cx="17" cy="7" r="7" fill="none"/>' }[how] ?? "";
    svg.innerHTML = (dash === "stair" ? stair : dash === "none" ? "" : line) + SHAPES[shape] + over;
  }

  return {
    CONFIG,
    BASE_MARK,
    axisOf,
    baseLabel,
    byId,
    colour,
    drawKey,
    endPositions,
    escape_,
    has,
    intervalText,
    labelPositions,
    layout,
    layoutAxis,
    lineLabel,
    linesOf,
    plotted,
    pointTrace,
    rowsOf,
    shortValue,
    styleOf,
    threeDigits,
    usable,
  };
})();
