// Shows all of the page or one part of it: the comparison, or a run. The address remembers which.
"use strict";

const selector = (() => {
  const nav = document.getElementById("show");
  const buttons = nav ? [...nav.querySelectorAll("button")] : [];
  let shown = "";

  function show(part) {
    shown = part;
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.show === part);
    for (const section of document.querySelectorAll("[data-part]")) section.hidden = part !== "" && section.dataset.part !== part;
  }

  function read(wanted) {
    const part = wanted.get("show") ?? "";
    show(buttons.some((button) => button.dataset.show === part) ? part : "");
  }

  function write(parts) {
    if (shown !== "") parts.set("show", shown);
  }

  // Charts that were drawn while they were hidden have no size yet.
  function fit() {
    for (const chart of document.querySelectorAll("[data-part]:not([hidden]) .js-plotly-plot")) Plotly.Plots.resize(chart);
  }

  function start(changed) {
    if (!nav) return;
    nav.hidden = false;
    for (const button of buttons) {
      button.addEventListener("click", () => {
        show(button.dataset.show);
        fit();
        changed();
      });
    }
  }

  return { read, start, write };
})();
