// The filter of the table of the zoo. Without it the whole table is shown.
"use strict";

function setUp() {
  const table = document.getElementById("zoo-table");
  const form = document.getElementById("zoo-filter");
  if (!table || !form || !form.hidden) return;
  const groups = [...table.tBodies].map((body) => {
    const [own, ...weights] = body.rows;
    return { body, own, weights, text: own.textContent.toLowerCase() };
  });
  const show = (element, shown) => element.toggleAttribute("hidden", !shown);
  const macsOf = (row) => parseFloat(row.cells[3].textContent) || 0;
  const filter = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const most = parseFloat(form.elements.macs.value) || Infinity;
    const commercial = form.elements.commercial.checked;
    const trained = form.elements.trained.checked || commercial;
    let [models, files] = [0, 0];
    for (const { body, own, weights, text } of groups) {
      let some = 0;
      for (const row of weights) {
        const all = `${text} ${row.textContent.toLowerCase()}`;
        const fits = (macsOf(row) || macsOf(own)) <= most;
        const allowed = !commercial || "commercial" in row.dataset;
        const shown = words.every((word) => all.includes(word)) && fits && allowed;
        show(row, shown);
        some += shown;
      }
      const alone = words.every((word) => text.includes(word)) && macsOf(own) <= most && !trained;
      show(body, alone || some > 0);
      models += alone || some > 0;
      files += some;
    }
    form.elements.found.value = `${models} architectures, ${files} weights`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", setUp);
else setUp();
