// Draws what the page's data says. Every decision (fronts, lines, words) was taken when the page was made, but for
// budgets, which budgets.js decides as they are typed.
"use strict";

(() => {
  const { BASE_MARK, CONFIG, axisOf, byId, drawKey, endPositions, intervalText, labelPositions, layout, linesOf, pointTrace, shortValue, stairTrace, usable } = charting;
  const { applyBudgets, crosses, layoutWithBudgets, markedPoints } = budgetMarking;
  const runs = JSON.parse(document.getElementById("scaleprof-data").textContent);

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

  // Bases are points of their own; where there are several models, each base is called by its model, and the
  // lines, too many to be labelled, are told apart by the key above the chart.
  const hasSeveral = (run) => new Set(run.rows.map((row) => row.model)).size > 1;
  const baseLabel = (run) => (row) => (hasSeveral(run) ? row.model : BASE_MARK.name);
  const lineLabel = (run, style) => (hasSeveral(run) ? "" : style.name);

  const marked = (run, style) => ({ marked: (rows, marker) => markedPoints(run, style, rows, marker) });

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
      pointTrace(style, rows, x, y, {
        ...marked(run, style),
        faded,
        label: lineLabel(run, style),
        labelPosition: positions[i],
        apart: style === BASE_MARK && baseLabel(run),
      }),
    );
    traces.unshift(stairTrace(front, run.rows, x, y));
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
  function drawCurves(run) {
    const x = axisOf(run, "macs");
    for (const curve of run.curves) {
      const y = axisOf(run, curve.y);
      const lines = run.lines
        .map((line) => ({ line, rows: line.rows.map((i) => run.rows[i]).filter((row) => row[y.name] !== null) }))
        .filter(({ rows }) => rows.length);
      const positions = labelPositions(lines.map(({ rows }) => rows.at(-1)[y.name]));
      const traces = lines.map(({ line, rows }, i) => pointTrace(line, rows, x, y, { ...marked(run, line), lines: true, label: lineLabel(run, line), labelPosition: positions[i] }));
      const bases = run.rows.filter((row) => row.strategy === "base" && usable(row) && row[y.name] !== null);
      const drawn = [...lines.flatMap(({ rows }) => rows), ...bases];
      if (bases.length) traces.push(pointTrace(BASE_MARK, bases, x, y, { ...marked(run, BASE_MARK), lines: false, apart: baseLabel(run) }));
      const axes = [{ axis: x, label: x.label, isLog: true }, { axis: y, label: y.label, isLog: true }];
      Plotly.react(byId(`${run.key}-curve-${curve.y}`), [...traces, ...crosses(run, drawn, x, y)], layoutWithBudgets(run, drawn, ...axes), CONFIG);
    }
  }
  function drawAll() {
    for (const run of runs) {
      if (run.side) workloads.drawSide(run.side);
      if (run.batches.length) workloads.drawBatches(run);
      if (!run.first) continue;
      drawPareto(run);
      drawCurves(run);
    }
    document.querySelectorAll(".key svg").forEach(drawKey);
    document.documentElement.dataset.ready = "true";
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
