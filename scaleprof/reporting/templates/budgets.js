// Budgets as people type them, and what they recommend: the grammar, decisions and words of reporting/budgets.py
// and reporting/recommending.py. A test holds both against each other, case by case.
"use strict";

const budgeting = (() => {
  const { quantities, suffixes, steps } = JSON.parse(document.getElementById("scaleprof-grammar").textContent);
  const FROM_GOOD_TO_BAD = ["meets", "undecided", "misses"];
  const NAMED_UNDECIDED = 4;

  class BudgetError extends Error {}

  // ---- numbers, as Python writes them ----
  // toFixed rounds an exact half up, Python to the even digit. A half it is if one more binary digit ends it.
  function fixed(value, digits) {
    const text = value.toFixed(digits);
    const isHalf = Math.abs(value * 2 ** (digits + 1)) % 2 === 1;
    const isOdd = Number(text.at(-1)) % 2 === 1;
    return isHalf && isOdd ? (Number(text) - Math.sign(value) * 10 ** -digits).toFixed(digits) : text;
  }

  function threeDigits(value) {
    const size = Math.abs(value);
    if (size >= 99.95 || size === 0) return fixed(value, 0);
    if (size >= 0.9995) return fixed(value, size >= 9.995 ? 1 : 2);
    if (size < 1e-4) return value.toExponential(2).replace(/-(\d)$/, "-0$1");
    const digits = 2 - Math.floor(Math.log10(size));
    const text = fixed(value, digits);
    // Rounded up to the next power of ten, it has a digit too many.
    return Math.abs(Number(text)) >= 10 ** (3 - digits) ? fixed(value, digits - 1) : text;
  }

  function quantityText(value, unit, ends) {
    const [, factor, suffix] = steps[unit].find(([least]) => Math.abs(value) >= least);
    const text = `${threeDigits(value / factor)} ${suffix}`.trimEnd();
    if (!ends.length) return text;
    const isKnown = ends.every((end) => end !== null);
    return `${text} [${isKnown ? ends.map((end) => threeDigits(end / factor)).join("–") : "?"}]`;
  }

  const plural = (count, one, several) => `${count} ${count === 1 ? one : several}`;

  // A factor with as many digits as tell it from one.
  function times(share) {
    const texts = [2, 3, 4, 5, 6].map((digits) => fixed(share, digits));
    return `${texts.find((text) => Number(text) !== 1) ?? texts.at(-1)}×`;
  }

  // ---- the grammar ----
  const parse = (text) => text.split(",").map(parseOne);

  function parseOne(text) {
    const shown = `budget '${text.trim().split(/\s+/).join(" ")}'`;
    const found = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=)\s*(.*?)\s*$/.exec(text);
    if (!found) throw new BudgetError(`${shown} is not METRIC<=QUANTITY, nor METRIC>=QUANTITY: write latency_ms<=10`);
    const [, name, sense, amount] = found;
    const quantity = quantities.find((one) => one.name === name);
    if (!quantity) throw new BudgetError(`${shown}: '${name}' is not a metric that can have a budget${suggestion(name)}`);
    if (sense !== quantity.sense) {
      const wanted = quantity.sense === "<=" ? "small" : "large";
      throw new BudgetError(`${shown}: ${name} is to be ${wanted}: write ${name}${quantity.sense}${amount}`);
    }
    const [, number, suffix] = /^([0-9]+(?:\.[0-9]+)?)\s*([^\s0-9.]*)$/.exec(amount) ?? [];
    const value = Number(number) * suffixes[quantity.unit][suffix];
    if (!(value > 0 && value < Infinity)) {
      const known = Object.keys(suffixes[quantity.unit]).filter(Boolean).join(", ");
      throw new BudgetError(`${shown}: '${amount}' is not a quantity above zero: write a number, alone or with one of ${known}`);
    }
    return { quantity, sense, value, text: `${name}${sense}${number}${suffix}` };
  }

  // The known name that is most like this one, as Python's difflib finds it.
  function suggestion(name) {
    const likeness = (one) => (2 * lettersInCommon(one, name)) / (one.length + name.length);
    const close = quantities.map((one) => [likeness(one.name), one.name]).filter(([score]) => score >= 0.6);
    close.sort(([a, x], [b, y]) => b - a || (x < y ? 1 : -1));
    return close.length ? `: did you mean '${close[0][1]}'?` : `: it takes ${quantities.map((one) => one.name).join(", ")}`;
  }

  // Letters in the longest common block, and in those to the left and to the right of it.
  function lettersInCommon(a, b) {
    let [start, other, length] = [0, 0, 0];
    for (let i = 0; i < a.length; i += 1) {
      for (let j = 0; j < b.length; j += 1) {
        let same = 0;
        while (i + same < a.length && a[i + same] === b[j + same]) same += 1;
        if (same > length) [start, other, length] = [i, j, same];
      }
    }
    if (!length) return 0;
    return length + lettersInCommon(a.slice(0, start), b.slice(0, other)) + lettersInCommon(a.slice(start + length), b.slice(other + length));
  }

  // ---- decisions ----
  const valueOf = (row, name) => row[name] ?? null;
  const isMeasured = (row) => row.status === "ok" || row.status === "unstable";
  const has = (row, names) => isMeasured(row) && names.every((name) => valueOf(row, name) !== null);
  // Ends that somebody else gave may be absent: then the value is taken as exact.
  function intervalOf(row, { name, ends, given_ends: given }) {
    const found = (ends ?? given ?? [name, name]).map((end) => valueOf(row, end));
    return given && found.includes(null) ? [valueOf(row, name), valueOf(row, name)] : found;
  }


  function standing(row, { quantity, sense, value }) {
    const [low, high] = intervalOf(row, quantity);
    if (low === null || high === null) return "undecided";
    const [best, worst, bound] = sense === "<=" ? [low, high, value] : [-high, -low, -value];
    return worst <= bound ? "meets" : best > bound ? "misses" : "undecided";
  }

  const share = (row, { quantity, value }) => valueOf(row, quantity.name) / value;
  const price = (row, budgets) => Math.max(...budgets.map((budget) => (budget.sense === "<=" ? share(row, budget) : 1 / share(row, budget))));
  const rank = (one) => FROM_GOOD_TO_BAD.indexOf(one);
  const worstStanding = (row, budgets) => budgets.map((budget) => standing(row, budget)).reduce((a, b) => (rank(b) > rank(a) ? b : a));

  // Which of one workload's rows to take within all budgets; `quality` is an axis, `unknown` the reasons for what no row has.
  function recommend(rows, budgets, quality, unknown) {
    for (const { quantity, text } of budgets) {
      const reason = unknown[quantity.name];
      if (reason !== undefined) throw new BudgetError(`budget '${text}': no model here has ${quantity.name} (${reason}): leave it out`);
    }
    const needed = [...new Set([...budgets.map(({ quantity }) => quantity.name), quality.name])];
    const standings = rows.map((row) => (has(row, needed) ? worstStanding(row, budgets) : null));
    const ranked = rows
      .map((row, i) => ({ row, standing: standings[i], good: valueOf(row, quality.name) }))
      .filter((one) => one.standing !== null)
      .map((one) => ({ ...one, price: price(one.row, budgets) }))
      .sort((a, b) => b.good - a.good || a.price - b.price);
    const meeting = ranked.filter((one) => one.standing === "meets");
    const better = ranked.filter((one) => !meeting.length || one.good > meeting[0].good);
    const floor = meeting[1]?.good ?? -Infinity;
    const missing = better.filter((one) => one.standing === "misses").sort((a, b) => a.price - b.price);
    const near = [...ranked].sort((a, b) => rank(a.standing) - rank(b.standing) || a.price - b.price);
    const found = {
      budgets,
      quality,
      needed,
      row: meeting[0]?.row ?? null,
      runner_up: meeting[1]?.row ?? null,
      next_step: meeting.length ? (missing[0]?.row ?? null) : null,
      nearest: meeting.length ? null : (near[0]?.row ?? null),
      undecided: ranked.filter((one) => one.standing === "undecided" && one.good > floor).map((one) => one.row),
      standings,
    };
    return { ...found, sentences: [...sentences(found, rows)] };
  }

  // ---- words ----
  function quantityOf(row, quantity) {
    const value = valueOf(row, quantity.name);
    const ends = quantity.ends || quantity.given_ends ? intervalOf(row, quantity) : [];
    return `${quantityText(value, quantity.unit, ends.every((end) => end === value) ? [] : ends)} ${quantity.noun}`.trimEnd();
  }

  const named = (name) => quantities.find((quantity) => quantity.name === name);
  const hasSeveral = (rows) => new Set(rows.map((row) => row.model)).size > 1;
  const inASentence = (label) => (/^.\p{Lu}/u.test(label) ? label : label.slice(0, 1).toLowerCase() + label.slice(1));

  function nameOf(row, rows) {
    const prefix = `${row.model}/`;
    return !hasSeveral(rows) && row.spec_id.startsWith(prefix) ? row.spec_id.slice(prefix.length) : row.spec_id;
  }

  function facts(row, { budgets, quality }, rows) {
    const names = new Set([quality.name, ...budgets.map(({ quantity }) => quantity.name)]);
    return [nameOf(row, rows), ...[...names].map((name) => quantityOf(row, named(name)))].join(", ");
  }

  // What a row takes of the budgets that it does not meet, and how many times the budget that is.
  function beyond(row, budgets) {
    const parts = budgets
      .map((budget) => ({ budget, standing: standing(row, budget) }))
      .filter((one) => one.standing !== "meets")
      .map((one) => quantityOf(row, one.budget.quantity) + (one.standing === "misses" ? `, ${times(share(row, one.budget))} the budget` : ""));
    return parts.join(", and ");
  }

  function* sentences(found, rows) {
    const { budgets, quality, row, runner_up: runnerUp, nearest, undecided } = found;
    const asked = budgets.map(({ text }) => text).join(", ");
    if (row) {
      yield `Within ${asked} for certain, the best by ${inASentence(quality.quality_label)} is ${facts(row, found, rows)}.`;
      yield runnerUp ? `Runner-up: ${facts(runnerUp, found, rows)}.` : "No other model meets it for certain.";
      yield* undecidedWords(found, rows);
      yield nextStepWords(found, rows);
      if (hasSeveral(rows) && quality.name !== "accuracy") yield `${quality.label} stand in for quality among one model's rows, hardly between models.`;
    } else if (undecided.length) {
      yield `No model meets ${asked} for certain.`;
      yield* undecidedWords(found, rows);
    } else if (nearest) {
      yield `No model meets ${asked}; ${nameOf(nearest, rows)} comes nearest at ${beyond(nearest, budgets)}.`;
    } else {
      yield `No model has a value of each of ${found.needed.join(", ")}.`;
    }
    yield* leftOutWords(found, rows);
  }

  function nextStepWords({ budgets, quality, row: best, next_step: row, undecided }, rows) {
    const isBetter = (other) => valueOf(other, quality.name) > valueOf(best, quality.name);
    if (!row) return undecided.some(isBetter) ? "Every better model is undecided." : "No better model was measured.";
    const isMissed = budgets.some((budget) => budget.quantity.name === quality.name && standing(row, budget) !== "meets");
    const told = [nameOf(row, rows), ...(isMissed ? [] : [quantityOf(row, named(quality.name))])];
    return `Next step: ${told.join(", ")}, at ${beyond(row, budgets)}.`;
  }

  function* undecidedWords({ budgets, undecided }, rows) {
    if (!undecided.length) return;
    const parts = undecided.slice(0, NAMED_UNDECIDED).map((row) => `${nameOf(row, rows)} at ${beyond(row, budgets)}`);
    if (undecided.length > parts.length) parts.push(`${undecided.length - parts.length} more`);
    yield `Undecided, since the bound lies inside the interval: ${parts.join("; ")}.`;
  }

  function* leftOutWords({ needed }, rows) {
    const lost = rows.filter((row) => !isMeasured(row)).length;
    const lacking = rows.filter((row) => isMeasured(row) && !has(row, needed));
    const absent = needed.filter((name) => lacking.some((row) => valueOf(row, name) === null));
    const parts = lost ? [plural(lost, "model that was not measured", "models that were not measured")] : [];
    if (lacking.length) parts.push(`${plural(lacking.length, "model", "models")} without ${absent.join(" or ")}`);
    if (parts.length) yield `Left out: ${parts.join(", ")}.`;
  }

  return { BudgetError, fixed, parse, recommend, threeDigits, quantityText };
})();
