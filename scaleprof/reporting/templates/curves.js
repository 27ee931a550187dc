// Scaling curves: what grows with a network, a line a strategy, against MACs or φ.
"use strict";

const scalingCurves = (() => {
  const { BASE_MARK, CONFIG, axisOf, baseLabel, byId, has, labelPositions, lineLabel, pointTrace, usable } = charting;
  const { crosses, layoutWithBudgets, marked } = budgetMarking;
  const PHI = { name: "phi", label: "φ", quality_label: "φ", kind: "plain", ends: null };

  function draw(run) {
    const against = byId(`${run.key}-against`).value;
    const x = against === "phi" ? PHI : axisOf(run, "macs");
    for (const curve of run.curves) drawOne(run, curve, x);
  }

  function drawOne(run, curve, x) {
    const y = axisOf(run, curve.y);
    const hasBoth = has(x, y);
    const lines = run.lines
      .map((line) => ({ line, rows: line.rows.map((i) => run.rows[i]).filter(hasBoth) }))
      .filter(({ rows }) => rows.length);
    const positions = labelPositions(lines.map(({ rows }) => rows.at(-1)[y.name]));
    const traces = lines.map(({ line, rows }, i) => pointTrace(line, rows, x, y, { ...marked(run, line), lines: true, label: lineLabel(run, line), labelPosition: positions[i] }));
    const bases = run.rows.filter((row) => row.strategy === "base" && usable(row) && hasBoth(row));
    const drawn = [...lines.flatMap(({ rows }) => rows), ...bases];
    if (bases.length) traces.push(pointTrace(BASE_MARK, bases, x, y, { ...marked(run, BASE_MARK), lines: false, apart: baseLabel(run) }));
    const axes = [{ axis: x, label: x.label, isLog: x !== PHI }, { axis: y, label: y.label, isLog: true }];
    Plotly.react(byId(`${run.key}-curve-${curve.y}`), [...traces, ...crosses(run, drawn, x, y)], layoutWithBudgets(run, drawn, ...axes), CONFIG);
    byId(`${run.key}-words-${curve.y}`).textContent = curve.words[x.name];
  }

  return { draw };
})();
