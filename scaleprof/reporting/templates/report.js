// Draws what the page's data says. Every decision (fronts, lines, words) was taken when the page was made, but for
// budgets, which budgets.js decides as they are typed.
"use strict";

(() => {
  const MIB = 2 ** 20;
  const CONFIG = {
    displaylogo: false,
    showSendToCloud: false,
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  };
  // Latency: 95 % interval. Memory: range over launches.
  const WHISKERS = {
    latency_ms: ["latency_ci_low_ms", "latency_ci_high_ms"],
    peak_memory_bytes: ["peak_memory_min_bytes", "peak_memory_max_bytes"],
  };
  const BASE_MARK = { name: "base", colour: null, symbol: "star", dash: "solid" };
  const runs = JSON.parse(document.getElementById("scaleprof-data").textContent);
  const byId = (id) => document.getElementById(id);

  // ---- theme ----
  const THEMES = ["system", "light", "dark"];
  let theme = "system";

  function setTheme(next) {
    theme = next;
    if (theme === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Theme: ${theme}`;
    drawAll();
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- values ----
  const axisOf = (run, name) => run.axes.find((axis) => axis.name === name);
  const plotted = (axis, value) => (value === null || value === undefined ? null : axis.kind === "bytes" ? value / MIB : value);
  const unitOf = (axis) => ({ ms: " (ms)", bytes: " (MiB)", percent: " (%)" })[axis.kind] || "";
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
      margin: { l: 56, r: roomRight, t: 22, b: 46 },
      showlegend: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--soft"), font: { color: colour("--ink") } },
      xaxis: x,
      yaxis: y,
    };
  }

  function hoverText(run, row, ...axes) {
    const parts = axes.map((axis) => `${escape_(axis.label)}: ${shortValue(axis, row[axis.name])}${axis.name === "latency_ms" ? intervalText(row) : ""}`);
    return `<b>${escape_(row.spec_id)}</b><br>${parts.join("<br>")}`;
  }

  // plotly reads a small set of tags in its texts; names are data and must not be read as tags.
  const escape_ = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  const { threeDigits } = budgeting;
  const intervalText = ({ latency_ci_low_ms: low, latency_ci_high_ms: high }) => (low === null ? "" : ` [${threeDigits(low)}–${threeDigits(high)}]`);

  function shortValue(axis, value) {
    if (value === null || value === undefined) return "–";
    if (axis.kind === "bytes") return `${threeDigits(value / MIB)} MiB`;
    if (axis.kind === "ms") return `${threeDigits(value)} ms`;
    if (axis.kind === "percent") return `${value.toFixed(1)} %`;
    const step = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => value >= size);
    return step ? `${threeDigits(value / step[0])} ${step[1]}` : String(value);
  }

  // ---- budgets ----
  // Never by colour alone: a hollow point is undecided, one that is crossed out misses, one in a frame is recommended.
  const HOLLOW = new Set(["undecided", "misses"]);

  // Reads the field, and says below it what it recommends or what is wrong with it.
  function applyBudgets(run) {
    const box = byId(`${run.key}-budget`);
    if (!box) return;
    [run.budgets, run.found] = [[], null];
    let sentences = [];
    let isWrong = false;
    try {
      if (box.value.trim()) run.budgets = budgeting.parse(box.value);
      if (run.budgets.length) run.found = budgeting.recommend(run.rows, run.budgets, axisOf(run, byId(`${run.key}-y`).value), run.budget.unknown);
      sentences = run.found?.sentences ?? [];
    } catch (error) {
      if (!(error instanceof budgeting.BudgetError)) throw error;
      [run.budgets, sentences, isWrong] = [[], [error.message], true];
    }
    box.setAttribute("aria-invalid", isWrong);
    sayAdvice(byId(`${run.key}-advice`), sentences);
    markBudgets(run);
  }

  // What is said already is not said again: a screen reader would read it twice.
  function sayAdvice(place, sentences) {
    const paragraphs = sentences.map((sentence) => Object.assign(document.createElement("p"), { textContent: sentence }));
    if (paragraphs.map((one) => one.textContent).join("") !== place.textContent) place.replaceChildren(...paragraphs);
  }

  function markBudgets(run) {
    const { row, runner_up: runnerUp, standings = [] } = run.found ?? {};
    const names = new Map([[row, "recommended"], [runnerUp, "runner-up"]]);
    run.marks = new Map(run.rows.map((one, i) => [one, names.get(one) ?? standings[i] ?? ""]));
    for (const line of byId(`${run.key}-table`).tBodies[0].rows) {
      const mark = run.marks.get(run.rows[line.dataset.row]);
      Object.assign(line.querySelector(".mark"), { className: `mark ${mark}`, textContent: mark });
    }
    document.querySelectorAll(`#${run.key} .of-budget`).forEach((item) => (item.hidden = !run.found));
  }

  // How points are drawn within budgets; as ever without any.
  function budgetMarks(run, style, rows, marker) {
    if (!run.found) return marker;
    const marks = rows.map((row) => run.marks.get(row));
    return {
      ...marker,
      symbol: marks.map((mark) => style.symbol + (HOLLOW.has(mark) ? "-open" : "")),
      size: marks.map((mark) => marker.size + (mark === "recommended" ? 6 : 0)),
      opacity: marker.opacity.map((shade, i) => (marks[i] === "misses" ? 0.7 : marks[i] === "recommended" ? 1 : shade)),
      line: {
        color: marks.map((mark) => colour(mark === "recommended" ? "--ink" : "--paper")),
        width: marks.map((mark) => (mark === "recommended" ? 2.5 : HOLLOW.has(mark) ? 1.8 : 1)),
      },
    };
  }

  // Crosses over the points that miss a budget; none without any.
  function crosses(run, rows, x, y) {
    const missing = run.found ? rows.filter((row) => run.marks.get(row) === "misses") : [];
    const trace = {
      type: "scatter",
      name: "misses",
      mode: "markers",
      x: missing.map((row) => plotted(x, row[x.name])),
      y: missing.map((row) => plotted(y, row[y.name])),
      marker: { symbol: "x-thin", size: 7, line: { color: colour("--ink"), width: 1.6 } },
      hoverinfo: "skip",
    };
    return missing.length ? [trace] : [];
  }

  // Budgets on the axes of a chart that are not far from its points: further ones would squeeze these together.
  function budgetsInView(run, axis, rows) {
    const values = rows.map((row) => row[axis.name]).filter((value) => value > 0);
    const [low, high] = [Math.min(...values) / 2, Math.max(...values) * 2];
    return run.budgets.filter(({ quantity, value }) => quantity.name === axis.name && value >= low && value <= high);
  }

  // A line at each budget, and its text at the line's end: plotly places texts on a logarithmic axis by exponents.
  function budgetLines({ axis, isLog }, at, budgets) {
    const along = at === "x" ? "y" : "x";
    const shapes = budgets.map(({ value }) => ({
      type: "line",
      [`${at}0`]: plotted(axis, value),
      [`${at}1`]: plotted(axis, value),
      [`${along}0`]: 0,
      [`${along}1`]: 1,
      [`${along}ref`]: "paper",
      line: { color: colour("--ink"), width: 1.4, dash: "dash" },
    }));
    const annotations = budgets.map(({ value, text }) => ({
      [at]: isLog ? Math.log10(plotted(axis, value)) : plotted(axis, value),
      [along]: at === "x" ? 1 : 0,
      [`${along}ref`]: "paper",
      xanchor: at === "x" ? "center" : "left",
      yanchor: "bottom",
      text: escape_(text),
      showarrow: false,
      font: { color: colour("--ink"), size: 12 },
    }));
    return { shapes, annotations };
  }

  // A chart's layout with its budgets; the ticks of an axis reach to them.
  function layoutWithBudgets(run, rows, x, y, roomRight) {
    const [across, up] = [budgetsInView(run, x.axis, rows), budgetsInView(run, y.axis, rows)];
    const withBudgets = ({ axis, label, isLog }, budgets) => layoutAxis(axis, label, isLog, [...rows, ...budgets.map(({ value }) => ({ [axis.name]: value }))]);
    const lines = [budgetLines(x, "x", across), budgetLines(y, "y", up)];
    return {
      ...layout(withBudgets(x, across), withBudgets(y, up), roomRight),
      shapes: lines.flatMap(({ shapes }) => shapes),
      annotations: lines.flatMap(({ annotations }) => annotations),
    };
  }

  // ---- traces ----
  function pointTrace(run, style, rows, x, y, options) {
    const mark = style.colour || colour("--ink");
    const trace = {
      type: "scatter",
      name: style.name,
      x: rows.map((row) => plotted(x, row[x.name])),
      y: rows.map((row) => plotted(y, row[y.name])),
      ids: rows.map((row) => row.spec_id),
      mode: rows.length > 1 && !options.apart ? "lines+markers+text" : "markers+text",
      line: { color: mark, dash: style.dash, width: options.lines ? 1.6 : 0.8 },
      marker: budgetMarks(run, style, rows, {
        color: mark,
        symbol: style.symbol,
        size: { star: 15, "triangle-up": 12 }[style.symbol] || 10,
        opacity: rows.map((row) => (options.faded && options.faded(row) ? 0.5 : 1)),
        line: { color: colour("--paper"), width: 1 },
      }),
      text: rows.map((row, i) => (options.apart ? escape_(options.apart(row)) : i === rows.length - 1 ? escape_(options.label ?? style.name) : "")),
      textposition: options.labelPosition || "top center",
      textfont: { color: colour("--ink"), size: 12 },
      cliponaxis: false,
      hovertext: rows.map((row) => hoverText(run, row, x, y)),
      hoverinfo: "text",
    };
    for (const [axis, whiskers] of [[x, "error_x"], [y, "error_y"]]) {
      const ends = WHISKERS[axis.name];
      if (!ends) continue;
      const distance = (row, end) => (row[end] === null ? 0 : Math.abs(plotted(axis, row[end]) - plotted(axis, row[axis.name])));
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

  function stairTrace(run, front, rows, x, y) {
    const members = front.spec_ids.map((id) => rows.find((row) => row.spec_id === id && usable(row)));
    return {
      type: "scatter",
      name: "front",
      x: members.map((row) => plotted(x, row[x.name])),
      y: members.map((row) => plotted(y, row[y.name])),
      mode: "lines",
      line: { shape: "hv", color: colour("--soft"), width: 1.4, dash: "solid" },
      hoverinfo: "skip",
    };
  }

  function linesOf(run) {
    const isBase = (row) => row.strategy === "base";
    const styled = run.lines.map((line) => ({ style: line, rows: line.rows.map((i) => run.rows[i]).filter((row) => !isBase(row)) }));
    return [...styled, { style: BASE_MARK, rows: run.rows.filter((row) => isBase(row) && usable(row)) }];
  }

  // Bases are points of their own; where there are several models, each base is called by its model, and the
  // lines, too many to be labelled, are told apart by the key above the chart.
  const hasSeveral = (run) => new Set(run.rows.map((row) => row.model)).size > 1;
  const baseLabel = (run) => (row) => (hasSeveral(run) ? row.model : BASE_MARK.name);
  const lineLabel = (run, style) => (hasSeveral(run) ? "" : style.name);

  // ---- charts ----
  const frontOf = (run) => {
    const [x, y] = [byId(`${run.key}-x`).value, byId(`${run.key}-y`).value];
    return run.fronts.find((front) => front.x === x && front.y === y);
  };

  function drawPareto(run) {
    const front = frontOf(run);
    const chart = byId(`${run.key}-pareto`);
    if (!front) {
      Plotly.react(chart, [], layout({ visible: false }, { visible: false }), CONFIG);
      byId(`${run.key}-words`).textContent = "A quantity against itself says nothing: choose two different axes.";
      byId(`${run.key}-front`).replaceChildren();
      byId(`${run.key}-undecided`).textContent = "";
      markFront(run, new Set());
      return;
    }
    const [x, y] = [axisOf(run, front.x), axisOf(run, front.y)];
    const members = new Set(front.spec_ids);
    const has = (row) => row[x.name] !== null && row[y.name] !== null;
    const drawn = run.rows.filter((row) => usable(row) && has(row));
    const faded = (row) => !members.has(row.spec_id);
    const labelled = linesOf(run)
      .map(({ style, rows }) => ({ style, rows: rows.filter(has) }))
      .filter(({ rows }) => rows.length);
    const ends = labelled.map(({ rows }) => rows.at(-1));
    const positions = endPositions(ends.map((row) => row[x.name]), ends.map((row) => row[y.name]));
    const traces = labelled.map(({ style, rows }, i) =>
      pointTrace(run, style, rows, x, y, {
        faded,
        label: lineLabel(run, style),
        labelPosition: positions[i],
        apart: style === BASE_MARK && baseLabel(run),
      }),
    );
    traces.unshift(stairTrace(run, front, run.rows, x, y));
    const axes = [{ axis: x, label: x.label, isLog: front.log_x }, { axis: y, label: y.quality_label, isLog: front.log_y }];
    Plotly.react(chart, [...traces, ...crosses(run, drawn, x, y)], layoutWithBudgets(run, drawn, ...axes, 36), CONFIG);
    byId(`${run.key}-words`).textContent = front.words;
    listFront(run, front, x, y);
  }

  function listFront(run, front, x, y) {
    const rows = front.spec_ids.map((id) => run.rows.find((row) => row.spec_id === id && usable(row)));
    byId(`${run.key}-front`).replaceChildren(
      ...rows.map((row) => {
        const item = document.createElement("li");
        const numbers = document.createElement("span");
        const interval = x.name === "latency_ms" ? intervalText(row) : "";
        numbers.textContent = `${shortValue(x, row[x.name])}${interval} · ${shortValue(y, row[y.name])}${y.kind === "count" ? ` ${y.label}` : ""}`;
        item.append(row.spec_id, front.likely.includes(row.spec_id) ? " (likely)" : "", numbers);
        return item;
      }),
    );
    byId(`${run.key}-undecided`).textContent = front.undecided.length ? `Undecided, perhaps on it: ${front.undecided.join(", ")}.` : "";
    markFront(run, new Set(front.spec_ids));
  }

  function markFront(run, members) {
    for (const line of byId(`${run.key}-table`).tBodies[0].rows) line.classList.toggle("front", members.has(line.dataset.spec));
  }

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

  function drawCurves(run) {
    const x = axisOf(run, "macs");
    for (const curve of run.curves) {
      const y = axisOf(run, curve.y);
      const lines = run.lines
        .map((line) => ({ line, rows: line.rows.map((i) => run.rows[i]).filter((row) => row[y.name] !== null) }))
        .filter(({ rows }) => rows.length);
      const positions = labelPositions(lines.map(({ rows }) => rows.at(-1)[y.name]));
      const traces = lines.map(({ line, rows }, i) => pointTrace(run, line, rows, x, y, { lines: true, label: lineLabel(run, line), labelPosition: positions[i] }));
      const bases = run.rows.filter((row) => row.strategy === "base" && usable(row) && row[y.name] !== null);
      const drawn = [...lines.flatMap(({ rows }) => rows), ...bases];
      if (bases.length) traces.push(pointTrace(run, BASE_MARK, bases, x, y, { lines: false, apart: baseLabel(run) }));
      const axes = [{ axis: x, label: x.label, isLog: true }, { axis: y, label: y.label, isLog: true }];
      Plotly.react(byId(`${run.key}-curve-${curve.y}`), [...traces, ...crosses(run, drawn, x, y)], layoutWithBudgets(run, drawn, ...axes), CONFIG);
    }
  }

  // ---- workloads side by side ----
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
        hovertext: drawn.map(({ spec, cell }) => `<b>${escape_(spec)}</b><br>${escape_(name)}: ${threeDigits(cell[0])} ms${intervalText({ latency_ci_low_ms: cell[1], latency_ci_high_ms: cell[2] })}`),
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

  function drawAll() {
    for (const run of runs) {
      if (run.side) drawSide(run.side);
      if (run.batches.length) drawBatches(run);
      if (!run.first) continue;
      drawPareto(run);
      drawCurves(run);
    }
    document.querySelectorAll(".key svg").forEach(drawKey);
    document.documentElement.dataset.ready = "true";
  }

  const SHAPES = {
    circle: '<circle cx="17" cy="7" r="5"/>',
    square: '<rect x="12" y="2" width="10" height="10"/>',
    diamond: '<path d="M17 1l6 6-6 6-6-6z"/>',
    "triangle-up": '<path d="M17 1l6 11H11z"/>',
    cross: '<path d="M15 1h4v4h4v4h-4v4h-4V9h-4V5h4z"/>',
    x: '<path d="M13 1l4 4 4-4 2 2-4 4 4 4-2 2-4-4-4 4-2-2 4-4-4-4z"/>',
    pentagon: '<path d="M17 1l6 5-2 7h-8l-2-7z"/>',
    hexagon: '<path d="M14 2h6l3 5-3 5h-6l-3-5z"/>',
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

  // ---- table ----
  function sortTable(table, column, button) {
    const header = button.closest("th");
    const descending = header.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const numeric = [...table.tBodies[0].rows].every((row) => value(row) === "" || !Number.isNaN(Number(value(row))));
    const order = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true }));
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      if (left === "" || right === "") return (left === "") - (right === ""); // missing values stay last
      return descending ? -order(left, right) : order(left, right);
    });
    table.tBodies[0].append(...rows);
  }

  function filterTable(run) {
    const words = byId(`${run.key}-filter`).value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...byId(`${run.key}-table`).tBodies[0].rows];
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    byId(`${run.key}-shown`).textContent = words.length ? `${shown} of ${rows.length} models` : "";
  }

  function pick(run, id) {
    for (const line of byId(`${run.key}-table`).tBodies[0].rows) line.classList.toggle("picked", line.dataset.spec === id);
  }

  // ---- the view is a link ----
  function readHash() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const run of runs) {
      for (const part of ["x", "y", "filter", "budget"]) {
        const control = byId(`${run.key}-${part}`);
        const value = wanted.get(`${run.key}.${part}`);
        const known = control && (!control.options || [...control.options].some((option) => option.value === value));
        if (value !== null && known) control.value = value;
      }
      applyBudgets(run);
      filterTable(run);
    }
    if (THEMES.includes(wanted.get("theme"))) theme = wanted.get("theme");
  }

  function writeHash() {
    const parts = new URLSearchParams();
    for (const run of runs) {
      for (const part of ["x", "y", "filter", "budget"]) {
        const control = byId(`${run.key}-${part}`);
        const usual = { filter: "", budget: run.budget.text }[part] ?? run.first?.[part];
        if (control && control.value !== usual) parts.set(`${run.key}.${part}`, control.value);
      }
    }
    if (theme !== "system") parts.set("theme", theme);
    history.replaceState(null, "", `#${parts}`);
  }

  // ---- start ----
  readHash();
  setTheme(theme);
  for (const run of runs) {
    for (const part of ["x", "y"]) {
      byId(`${run.key}-${part}`)?.addEventListener("change", () => {
        applyBudgets(run);
        drawPareto(run);
        drawCurves(run);
        writeHash();
      });
    }
    byId(`${run.key}-budget`)?.addEventListener("input", () => {
      applyBudgets(run);
      filterTable(run);
      drawPareto(run);
      drawCurves(run);
      writeHash();
    });
    byId(`${run.key}-filter`).addEventListener("input", () => {
      filterTable(run);
      writeHash();
    });
    const table = byId(`${run.key}-table`);
    table.querySelectorAll("thead button").forEach((button, column) => button.addEventListener("click", () => sortTable(table, column, button)));
    for (const chart of document.querySelectorAll(`#${run.key} .js-plotly-plot`)) {
      chart.on("plotly_click", (event) => pick(run, event.points[0].id));
    }
  }
  byId("theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    writeHash();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
