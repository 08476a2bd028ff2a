"use strict";
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
for (const section of document.querySelectorAll("[data-filtered]")) {
  const items = [...section.querySelectorAll("article")];
  const fields = [...section.querySelectorAll("[data-field]")];
  const count = section.querySelector("[data-count]");
  const update = () => {
    let shown = 0;
    for (const item of items) {
      item.hidden = !fields.every((field) => {
        if (field.value === "") return true;
        if (field.dataset.field === "text") return item.textContent.toLowerCase().includes(field.value.toLowerCase());
        return item.getAttribute("data-" + field.dataset.field).split("\n").includes(field.value);
      });
      if (!item.hidden) shown += 1;
    }
    count.textContent = shown + " of " + items.length + " shown";
  };
  for (const field of fields) field.addEventListener("input", update);
  update();
}
