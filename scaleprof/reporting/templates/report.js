// Draws what the page's data says, and keeps the view in the address. Every decision (fronts, lines, words) was taken
// when the page was made, but for budgets, which budgets.js decides as they are typed.
"use strict";

(() => {
  const { byId, drawKey, rowsOf } = charting;
  const runs = JSON.parse(document.getElementById("scaleprof-data").textContent);
  for (const run of runs) Object.assign(run, { rows: rowsOf(run.rows), pinned: new Set(run.pins) });

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

  // ---- charts ----
  // What there is to draw, in the order in which it is looked at.
  function drawings(run) {
    const charts = run.first ? [fronts.draw, scalingCurves.draw, rooflines.draw, pinning.drawSpread] : [];
    const before = [...(run.side ? [() => workloads.drawSide(run.side)] : []), ...(run.batches.length ? [workloads.drawBatches] : [])];
    return [...before, ...charts, listen].map((draw) => () => draw(run));
  }

  // The first screen's charts are there at once. The others follow one by one, so that the page can be used meanwhile;
  // a later call begins anew.
  let turn = 0;

  function drawAll() {
    turn += 1;
    const mine = turn;
    document.querySelectorAll(".key svg").forEach(drawKey);
    const [first, ...others] = runs;
    const start = first ? drawings(first) : [];
    comparison.draw();
    if (!first) searches.draw();
    start.splice(0, Math.max(1, start.length - 4)).forEach((draw) => draw());
    document.documentElement.dataset.ready = "true";
    const rest = [...start, ...others.flatMap(drawings), ...(first ? [searches.draw] : [])];
    const next = () => {
      if (mine !== turn) return;
      rest.shift()?.();
      if (rest.length) setTimeout(next);
      else document.documentElement.dataset.drawn = "true";
    };
    setTimeout(next);
  }

  function listen(run) {
    if (run.listens) return;
    run.listens = true;
    for (const chart of document.querySelectorAll(`#${run.key} .js-plotly-plot`)) {
      chart.on("plotly_click", (event) => candidates.pick(run, event.points[0].id));
    }
  }

  // ---- the view is a link ----
  // Controls whose values are in it, and what they are left to themselves.
  const usualOf = (run) => ({ x: run.first?.x, y: run.first?.y, against: "macs", budget: run.budget.text, filter: "" });

  function readHash() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const run of runs) {
      for (const part of Object.keys(usualOf(run))) {
        const control = byId(`${run.key}-${part}`);
        const value = wanted.get(`${run.key}.${part}`);
        const known = control && (!control.options || [...control.options].some((option) => option.value === value));
        if (value !== null && known) control.value = value;
      }
      const pins = wanted.get(`${run.key}.pins`);
      if (pins !== null) run.pinned = new Set(pins.split(",").filter(Boolean).map(Number).filter((i) => run.spreads[i]));
      budgetMarking.applyBudgets(run);
      candidates.filter(run);
    }
    if (THEMES.includes(wanted.get("theme"))) theme = wanted.get("theme");
    selector.read(wanted);
  }

  function writeHash() {
    const parts = new URLSearchParams();
    for (const run of runs) {
      for (const [part, usual] of Object.entries(usualOf(run))) {
        const control = byId(`${run.key}-${part}`);
        if (control && control.value !== usual) parts.set(`${run.key}.${part}`, control.value);
      }
      const pins = [...run.pinned].join(",");
      if (pins !== run.pins.join(",")) parts.set(`${run.key}.pins`, pins);
    }
    if (theme !== "system") parts.set("theme", theme);
    selector.write(parts);
    history.replaceState(null, "", `#${parts}`);
  }

  // ---- start ----
  // What follows a change of a control: budgets go by the chart's quality, and the filter reads their marks.
  function follow(run, control, event, ...redraw) {
    byId(`${run.key}-${control}`)?.addEventListener(event, () => {
      redraw.forEach((draw) => draw(run));
      writeHash();
    });
  }

  readHash();
  setTheme(theme);
  for (const run of runs) {
    const { applyBudgets } = budgetMarking;
    for (const axis of ["x", "y"]) follow(run, axis, "change", applyBudgets, fronts.draw, scalingCurves.draw);
    follow(run, "against", "change", scalingCurves.draw);
    follow(run, "budget", "input", applyBudgets, candidates.filter, ...(run.first ? [fronts.draw, scalingCurves.draw] : []));
    follow(run, "filter", "input", candidates.filter);
    candidates.addPins(run, () => {
      if (run.first) pinning.drawSpread(run);
      writeHash();
    });
    byId(`${run.key}-table`).querySelectorAll("thead th").forEach((header) => header.firstElementChild.addEventListener("click", () => candidates.sortBy(run, header)));
  }
  byId("theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    writeHash();
  });
  selector.start(writeHash);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
