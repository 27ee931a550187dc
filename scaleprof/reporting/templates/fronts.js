// The main chart: what each step buys, the front as a staircase, and its members as a list.
"use strict";

const fronts = (() => {
  const { BASE_MARK, CONFIG, axisOf, baseLabel, byId, colour, endPositions, has, intervalText, layout, lineLabel, linesOf, plotted, pointTrace, shortValue, usable } = charting;
  const { crosses, layoutWithBudgets, marked } = budgetMarking;

  const frontOf = (run) => {
    const [x, y] = [byId(`${run.key}-x`).value, byId(`${run.key}-y`).value];
    return run.fronts.find((front) => front.x === x && front.y === y);
  };

  const membersOf = (run, front) => front.spec_ids.map((id) => run.rows.find((row) => row.spec_id === id && usable(row)));

  function stairTrace(members, x, y) {
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

  // A star around the baseline, where it is not a base, which is a star anyway.
  function baselineTraces(run, rows, x, y) {
    const row = rows.find((one) => one.spec_id === run.baseline.spec_id && one.strategy !== "base");
    if (!row) return [];
    const style = { name: "baseline", colour: null, symbol: "star-open", dash: "solid" };
    const trace = pointTrace(style, [row], x, y, { apart: () => "baseline", labelPosition: "bottom center" });
    return [{ ...trace, ids: undefined, marker: { ...trace.marker, size: 22, opacity: 1, line: { color: colour("--ink"), width: 1.6 } }, error_x: undefined, error_y: undefined, hoverinfo: "skip" }];
  }

  function draw(run) {
    const front = frontOf(run);
    const chart = byId(`${run.key}-pareto`);
    if (!front) {
      Plotly.react(chart, [], layout({ visible: false }, { visible: false }), CONFIG);
      byId(`${run.key}-words`).textContent = "A quantity against itself says nothing: choose two different axes.";
      byId(`${run.key}-front`).replaceChildren();
      byId(`${run.key}-undecided`).textContent = "";
      candidates.markFront(run, new Set());
      return;
    }
    const [x, y] = [axisOf(run, front.x), axisOf(run, front.y)];
    const names = new Set(front.spec_ids);
    const hasBoth = has(x, y);
    const drawn = run.rows.filter((row) => usable(row) && hasBoth(row));
    const labelled = linesOf(run)
      .map(({ style, rows }) => ({ style, rows: rows.filter(hasBoth) }))
      .filter(({ rows }) => rows.length);
    const ends = labelled.map(({ rows }) => rows.at(-1));
    const positions = endPositions(ends.map((row) => row[x.name]), ends.map((row) => row[y.name]));
    const traces = labelled.map(({ style, rows }, i) =>
      pointTrace(style, rows, x, y, {
        ...marked(run, style),
        faded: (row) => !names.has(row.spec_id),
        label: lineLabel(run, style),
        labelPosition: positions[i],
        apart: style === BASE_MARK && baseLabel(run),
      }),
    );
    const members = membersOf(run, front);
    const axes = [{ axis: x, label: x.label, isLog: front.log_x }, { axis: y, label: y.quality_label, isLog: front.log_y }];
    const all = [stairTrace(members, x, y), ...traces, ...baselineTraces(run, drawn, x, y), ...crosses(run, drawn, x, y)];
    Plotly.react(chart, all, layoutWithBudgets(run, drawn, ...axes, 36), CONFIG);
    byId(`${run.key}-words`).textContent = front.words;
    list(run, front, members, x, y);
  }

  function list(run, front, members, x, y) {
    const items = members.map((row) => {
      const item = document.createElement("li");
      const numbers = document.createElement("span");
      const known = [`${shortValue(x, row[x.name])}${intervalText(x, row)}`, `${shortValue(y, row[y.name])}${y.kind === "count" ? ` ${y.label}` : ""}`];
      if (x.name === "latency_ms") known.push(pinning.ratioText(run, row));
      numbers.textContent = known.filter(Boolean).join(" · ");
      item.append(row.spec_id, front.likely.includes(row.spec_id) ? " (likely)" : "", numbers);
      return item;
    });
    byId(`${run.key}-front`).replaceChildren(...items);
    byId(`${run.key}-count`).textContent = `${members.length} of ${run.rows.filter((row) => usable(row) && has(x, y)(row)).length}`;
    byId(`${run.key}-undecided`).textContent = front.undecided.length ? `Undecided, perhaps on it: ${front.undecided.join(", ")}.` : "";
    candidates.markFront(run, new Set(front.spec_ids));
  }

  return { draw };
})();
