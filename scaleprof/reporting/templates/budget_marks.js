// Budgets in the page: the field read and answered, points and rows marked, lines drawn at the bounds.
"use strict";

const budgetMarking = (() => {
  const { axisOf, byId, colour, escape_, layout, layoutAxis, plotted } = charting;

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
      if (run.found?.row) sentences.push(...[pinning.against(run, run.found.row)].filter(Boolean));
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
    candidates.mark(run, run.marks);
    document.querySelectorAll(`#${run.key} .of-budget`).forEach((item) => (item.hidden = !run.found));
  }

  // How points are drawn within budgets; as ever without any.
  function markedPoints(run, style, rows, marker) {
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

  const marked = (run, style) => ({ marked: (rows, marker) => markedPoints(run, style, rows, marker) });

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

  return { applyBudgets, crosses, layoutWithBudgets, marked };
})();
