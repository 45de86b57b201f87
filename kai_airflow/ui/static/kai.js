// Airflow shows the page in a frame of its own origin: from there come its theme, and the way out of the frame.
"use strict";

const above = window.parent === window ? null : window.parent;

function theme() {
  const root = above?.document.documentElement;
  const chosen = localStorage.getItem("theme");
  if (root?.classList.contains("dark")) return "dark";
  if (root?.classList.contains("light")) return "light";
  return chosen === "dark" || chosen === "light" ? chosen : null;
}

function dress() {
  const found = theme();
  if (found) document.documentElement.dataset.theme = found;
  else delete document.documentElement.dataset.theme;
}

// The frame may neither open windows nor leave itself; what is around it may.
function leave(event) {
  const link = event.target.closest("a[target]");
  if (!above || !link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const copy = above.document.createElement("a");
  copy.href = link.href;
  copy.target = link.target === "_top" ? "_self" : link.target;
  copy.rel = link.rel;
  copy.click();
}

async function renew() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { redirect: "error" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = page.querySelector("main");
  const shown = document.querySelector("main");
  if (now && now.innerHTML !== shown.innerHTML) shown.replaceWith(document.adoptNode(now));
}

dress();
window.addEventListener("storage", dress);
if (above) new MutationObserver(dress).observe(above.document.documentElement, { attributeFilter: ["class"] });
document.addEventListener("click", leave);
// An Airflow that is restarted just now answers again in a moment.
setInterval(() => renew().catch(() => {}), 5000);
