"use strict";
for (const part of document.querySelectorAll("[data-live]")) {
  let last = "";
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(part.dataset.live).catch(() => null);
    const text = answer && answer.ok ? await answer.text() : last;
    if (text !== last) part.innerHTML = text;  // made by our templates, which escape; scripts in it may not run
    last = text;
  }, 2000);
}

const line = (parent, kind, text, name = "") => {
  const one = parent.appendChild(document.createElement(kind));
  one.textContent = text;
  one.className = name;
  return one;
};

const ask = async (box, request) => {
  const article = line(box, "article", "", "unjudged");
  line(article, "p", request.checkpoint, "soft");
  const reply = line(article, "pre", "");
  const answer = await fetch("/reply", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(request),
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const one of lines.map((text) => JSON.parse(text))) {
      if (one.text) reply.textContent += one.text;
      if (one.error) line(article, "p", one.error);
      if (one.finished === false) line(article, "p", "cut off", "soft");
      if (one.verdict) {
        line(article, "p", one.lane + ": " + one.verdict, "verdict");
        article.className = one.verdict === "passed" ? "" : "failed";
      }
    }
  }
  if (rest) line(article, "p", JSON.parse(rest).error);
};

const form = document.querySelector("#talk");
if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const replies = document.querySelector("#replies");
    const turn = document.createElement("section");
    replies.prepend(turn);
    line(turn, "h2", data.get("prompt"));
    const side = line(turn, "div", "", "side");
    for (const checkpoint of data.getAll("checkpoint").filter((one) => one)) {
      ask(side, { checkpoint, prompt: data.get("prompt"), temperature: Number(data.get("temperature")) })
        .catch(() => line(side, "p", `${checkpoint}: the reply broke off; is the board still running?`));
    }
  });
}
