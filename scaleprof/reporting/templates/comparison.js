// Several runs against the first: ratios with their intervals, and each run's latencies with its front.
"use strict";

const comparison = (() => {
  const { CONFIG, byId, colour, escape_, layout, layoutAxis, pointTrace, threeDigits } = charting;
  const block = byId("scaleprof-comparison");
  const { parts, limit, axes } = block ? JSON.parse(block.textContent) : { parts: [] };
  const PX_A_LETTER = 7.5;

  // ---- names of any length ----
  // What tells one model from another stands at the end of its name, what a run is called at the beginning.
  const most = (chart, part) => Math.max(10, Math.floor((chart.clientWidth * part) / PX_A_LETTER));
  const endOf = (text, length) => (text.length > length ? `…${text.slice(1 - length)}` : text);
  const startOf = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  // ---- ratios ----
  // Over a small range ticks at equal steps, for which 1, 2, 5 and their tenths are too few.
  function ratioTicks(values) {
    const [low, high] = [Math.min(...values) / 1.05, Math.max(...values) * 1.05];
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((one) => (high - low) / one <= 7);
    if (!step || high / low > 5) return {};
    const ticks = [];
    for (let n = Math.ceil(low / step); n * step <= high; n += 1) ticks.push(Number((n * step).toFixed(2)));
    return { tickvals: ticks, ticktext: ticks.map(String) };
  }

  function drawRatios(part) {
    const chart = byId(`${part.key}-ratios`);
    if (!chart) return;
    const { names, ratios } = part;
    const others = part.series.slice(1);
    chart.style.height = `${110 + names.length * (14 + 11 * others.length)}px`;
    const step = 0.72 / others.length;
    const traces = others.map(({ name, colour: mark, symbol }, place) => {
      const drawn = names.map((model, i) => ({ model, i, ratio: ratios[i][place] })).filter(({ ratio }) => ratio);
      const distance = (end) => drawn.map(({ ratio }) => (ratio[end] === null ? 0 : Math.abs(ratio[end] - ratio[0])));
      const told = ([value, low, high]) => `${threeDigits(value)}${low === null ? " [?]" : ` [${threeDigits(low)}–${threeDigits(high)}]`}`;
      return {
        type: "scatter",
        mode: "markers",
        name: escape_(name),
        x: drawn.map(({ ratio }) => ratio[0]),
        y: drawn.map(({ i }) => i + (place - (others.length - 1) / 2) * step),
        ids: drawn.map(({ model }) => model),
        marker: { color: mark, symbol, size: 9, line: { color: colour("--paper"), width: 1 } },
        error_x: { type: "data", symmetric: false, array: distance(2), arrayminus: distance(1), color: mark, thickness: 1.4, width: 3 },
        hovertext: drawn.map(({ model, ratio }) => `<b>${escape_(model)}</b><br>${escape_(name)}: ${told(ratio)}`),
        hoverinfo: "text",
      };
    });
    const ends = [1 / (1 + limit), 1 + limit, ...ratios.flat(2).filter((value) => value > 0)];
    const axis = { name: "ratio", kind: "plain", ends: null };
    const x = { ...layoutAxis(axis, `times as long as ${escape_(startOf(part.series[0].name, most(chart, 0.4)))}`, true, ends.map((ratio) => ({ ratio }))), ...ratioTicks(ends) };
    const texts = names.map((name) => escape_(endOf(name, most(chart, 0.4))));
    const y = { tickvals: names.map((_, i) => i), ticktext: texts, range: [names.length - 0.5, -0.5], automargin: true, zeroline: false, gridcolor: colour("--line") };
    const line = (value, dash) => ({ type: "line", x0: value, x1: value, y0: 0, y1: 1, yref: "paper", layer: "below", line: { color: colour(dash === "solid" ? "--ink" : "--soft"), width: 1.3, dash } });
    const shapes = [line(1, "solid"), line(1 / (1 + limit), "dash"), line(1 + limit, "dash")];
    Plotly.react(chart, traces, { ...layout(x, y, 20), shapes }, CONFIG);
  }

  // ---- latencies ----
  const extent = (values) => [Math.min(...values), Math.max(...values)];
  const isWide = ([low, high]) => high > 10 * low;

  // Where a value stands on its axis, from 0 to 1.
  function share(value, [low, high]) {
    const scale = isWide([low, high]) ? Math.log : Number;
    return high > low ? (scale(value) - scale(low)) / (scale(high) - scale(low)) : 0.5;
  }

  // Each run's name stands at a point of its front, the dearest where none of the names before is in its way.
  function labelPlaces(chart, series, texts, ranges) {
    const [x, y] = axes;
    const [width, height] = [Math.max(chart.clientWidth - 90, 1), Math.max(chart.clientHeight - 80, 1)];
    const taken = [];
    return series.map(({ points, front }, i) => {
      const tried = [...front].reverse().flatMap((place) => ["top left", "bottom right"].map((position) => ({ point: points[place], position })));
      const boxes = tried.map(({ point, position }) => {
        const [across, up] = [share(point[x.name], ranges[0]) * width, share(point[y.name], ranges[1]) * height];
        const long = texts[i].length * PX_A_LETTER;
        return position === "top left" ? [across - long, across, up + 4, up + 24] : [across, across + long, up - 24, up - 4];
      });
      const isFree = ([left, right, low, high]) => left > -50 && right < width + 20 && taken.every(([l, r, b, t]) => right < l || left > r || high < b || low > t);
      const found = Math.max(boxes.findIndex(isFree), 0);
      taken.push(boxes[found]);
      return tried[found];
    });
  }

  function drawLatencies(part) {
    const chart = byId(`${part.key}-chart`);
    const [x, y] = axes;
    const series = part.series.filter(({ points }) => points.length);
    const drawn = series.flatMap(({ points }) => points);
    const ranges = axes.map(({ name }) => extent(drawn.map((point) => point[name])));
    const texts = series.map(({ name, device }) => `${startOf(name, most(chart, 0.3))} (${startOf(device, most(chart, 0.3))})`);
    const places = labelPlaces(chart, series, texts, ranges);
    const traces = series.map((one, i) =>
      pointTrace({ ...one, name: escape_(one.name) }, one.points, x, y, {
        apart: (point) => (point === places[i].point ? texts[i] : ""),
        labelPosition: places[i].position,
      }),
    );
    const stairs = series.map((one) => {
      const members = one.front.map((place) => one.points[place]);
      return {
        type: "scatter",
        mode: "lines",
        name: `front of ${escape_(one.name)}`,
        x: members.map((point) => point[x.name]),
        y: members.map((point) => point[y.name]),
        line: { shape: "hv", color: one.colour, width: 1.4, dash: one.dash },
        hoverinfo: "skip",
      };
    });
    const layouts = [layoutAxis(x, x.label, isWide(ranges[0]), drawn), layoutAxis(y, y.quality_label, isWide(ranges[1]), drawn)];
    Plotly.react(chart, [...stairs, ...traces], layout(...layouts, 24), CONFIG);
  }

  function draw() {
    for (const part of parts) {
      drawRatios(part);
      drawLatencies(part);
    }
  }

  return { draw };
})();
