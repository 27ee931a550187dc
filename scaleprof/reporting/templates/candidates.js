// The table of all candidates: sorted, filtered, its rows marked and pinned.
"use strict";

const candidates = (() => {
  const { byId } = charting;

  const bodyOf = (run) => byId(`${run.key}-table`).tBodies[0];
  const linesOf = (run) => [...bodyOf(run).rows];
  const rowOf = (run, line) => run.rows[line.dataset.row];

  // What a column sorts by: the row's own number, not its text.
  function valueOf(run, line, field) {
    if (field === "ratio") return run.baseline.ratios[line.dataset.row]?.[0] ?? null;
    const row = rowOf(run, line);
    if (field === "growth") return row.matched_growth ?? row.achieved_growth ?? null;
    return row[field] ?? null;
  }

  function sortBy(run, header) {
    const descending = header.getAttribute("aria-sort") === "ascending";
    header.closest("tr").querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const order = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
    const keyed = linesOf(run).map((line) => [valueOf(run, line, header.dataset.field), line]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // missing values stay last
      return descending ? -order(a, b) : order(a, b);
    });
    bodyOf(run).append(...keyed.map(([, line]) => line));
  }

  function filter(run) {
    const words = byId(`${run.key}-filter`).value.toLowerCase().split(/\s+/).filter(Boolean);
    const lines = linesOf(run);
    for (const line of lines) line.hidden = words.length > 0 && !words.every((word) => textOf(line).includes(word));
    const shown = lines.filter((line) => !line.hidden).length;
    byId(`${run.key}-shown`).textContent = words.length ? `${shown} of ${lines.length} models` : "";
  }

  // Without the words of our own buttons.
  const textOf = (line) => [...line.cells].map((cell) => [...cell.childNodes].filter((node) => node.nodeName !== "BUTTON").map((node) => node.textContent).join(" ")).join(" ").toLowerCase();

  const markFront = (run, members) => linesOf(run).forEach((line) => line.classList.toggle("front", members.has(rowOf(run, line).spec_id)));

  const pick = (run, id) => linesOf(run).forEach((line) => line.classList.toggle("picked", rowOf(run, line).spec_id === id));

  // A word beside a model's name: what budgets make of it. `marks` has one for each row, or "".
  function mark(run, marks) {
    for (const line of linesOf(run)) {
      const word = marks.get(rowOf(run, line));
      let badge = line.querySelector(".mark");
      if (!word) badge?.remove();
      if (!word) continue;
      badge ??= line.cells[0].appendChild(document.createElement("b"));
      Object.assign(badge, { className: `mark ${word}`, textContent: word });
    }
  }

  // ---- pins ----
  function addPins(run, onChange) {
    for (const line of linesOf(run)) {
      const i = Number(line.dataset.row);
      if (!run.spreads[i]) continue;
      const button = Object.assign(document.createElement("button"), { type: "button", className: "pin", textContent: "pin" });
      button.setAttribute("aria-label", `Pin ${run.rows[i].spec_id}`);
      button.addEventListener("click", () => {
        if (!run.pinned.delete(i)) run.pinned.add(i);
        showPins(run);
        onChange();
      });
      line.cells[0].append(button);
    }
    showPins(run);
  }

  function showPins(run) {
    for (const line of linesOf(run)) line.querySelector(".pin")?.setAttribute("aria-pressed", run.pinned.has(Number(line.dataset.row)));
  }

  return { addPins, filter, mark, markFront, pick, showPins, sortBy };
})();
