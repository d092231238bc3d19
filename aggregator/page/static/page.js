// What open pages do by themselves. Everything that matters works without it: see docs/page.md.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

  // --- dark or light -------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  for (const button of all("[data-theme-toggle]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const now = root.dataset.theme || (dark.matches ? "dark" : "light");
      root.dataset.theme = now === "dark" ? "light" : "dark";
      try { localStorage.setItem("headway-theme", root.dataset.theme); } catch (error) { console.info(error); }
      document.dispatchEvent(new CustomEvent("headway:theme"));
    });
  }

  // --- copying a command ---------------------------------------------------------------------------------------
  const offerCopying = (within) => {
    if (!navigator.clipboard) return;
    for (const button of all("[data-copy][hidden]", within)) button.hidden = false;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // --- acts that need a second thought -------------------------------------------------------------------------
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm || event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  // --- how long ago --------------------------------------------------------------------------------------------
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
  let ahead = 0; // of the server's clock over ours
  const span = (seconds) => {
    for (const [size, unit] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    return `${Math.floor(seconds)} s`;
  };
  const ago = (seconds) => (seconds < 5 ? "just now" : `${span(seconds)} ago`);
  const tellTimes = () => {
    const now = Date.now() / 1000 + ahead;
    for (const each of all("time[data-ago]")) {
      const seconds = Math.max(0, now - Date.parse(each.dateTime) / 1000);
      const text = each.dataset.ago === "lasts" ? `for ${span(seconds)}` : ago(seconds);
      if (each.textContent !== text) each.textContent = text;
    }
  };
  const clock = document.querySelector("[data-now]");
  if (clock) ahead = Number(clock.dataset.now) - Date.now() / 1000;
  setInterval(tellTimes, 1000);

  // --- news ----------------------------------------------------------------------------------------------------
  // Numbers come with the event; lists ask for themselves again, each not more often than it says, and not while
  // somebody types in them or the page is not seen.
  const address = document.body.dataset.live;
  const shown = document.querySelector("[data-live-state]");
  let source = null, stamp = null, lost = 0, retry = 0;
  const tellState = (word, text) => {
    if (!shown) return;
    shown.hidden = false;
    if (shown.dataset.liveState !== word) { shown.dataset.liveState = word; shown.textContent = text; }
  };
  const refresh = (force) => {
    const now = Date.now();
    for (const part of all("[data-refresh]")) {
      const every = 1000 * Number(part.dataset.refresh);
      if (!force && now - Number(part.dataset.refreshed || 0) < every) { part.dataset.stale = "yes"; continue; }
      if (part.contains(document.activeElement) && typing(document.activeElement)) continue;
      part.dataset.refreshed = now;
      delete part.dataset.stale;
      htmx.trigger(part, "refresh");
    }
  };
  const listen = () => {
    clearTimeout(retry);
    if (!address || document.hidden || source) return;
    source = new EventSource(address);
    source.addEventListener("open", () => { lost = 0; tellState("on", "Live"); });
    source.addEventListener("pulse", (event) => {
      const pulse = JSON.parse(event.data);
      for (const [name, value] of Object.entries(pulse.numbers)) {
        for (const place of all(`[data-number="${CSS.escape(name)}"]`)) {
          const text = value.toLocaleString("en").replaceAll(",", "\u202f");
          if (place.textContent !== text) place.textContent = text;
          place.closest("[data-count]")?.setAttribute("data-count", value === 0 ? "none" : "some");
        }
      }
      const changed = stamp !== null && stamp !== pulse.stamp;
      stamp = pulse.stamp;
      if (changed) refresh(false);
    });
    source.addEventListener("error", () => {
      lost = lost || Date.now();
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        retry = setTimeout(listen, 5000);
      }
      tellState("off", "Reconnecting");
    });
  };
  const stop = () => { clearTimeout(retry); source?.close(); source = null; };
  // a browser opens few connections to one server: pages that are not seen hold none
  document.addEventListener("visibilitychange", () => { if (document.hidden) { stop(); } else { listen(); refresh(true); } });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  setInterval(() => { if (!document.hidden && document.querySelector("[data-stale]")) refresh(false); }, 1000);
  if (address) setTimeout(listen, 50);

  // --- keys ----------------------------------------------------------------------------------------------------
  const PLACES = { f: "/", i: "/inbox", h: "/heads", r: "/rollouts", s: "/settings" };
  let going = 0;
  const move = (step) => {
    const rows = all("[data-row]");
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))].querySelector("a, button")?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape") {
      for (const menu of all("details.menu[open]")) menu.open = false;
      if (typing(event.target)) event.target.blur();
      return;
    }
    if (typing(event.target)) return;
    if (Date.now() - going < 1200 && PLACES[event.key]) {
      const link = document.querySelector(`nav.places a[href="${PLACES[event.key]}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    going = event.key === "g" ? Date.now() : 0;
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "?") {
      const menu = document.querySelector("details.menu");
      if (menu) { menu.open = !menu.open; menu.querySelector("summary").focus(); }
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // --- a day of an accuracy bar, under the pointer ---------------------------------------------------------------
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  document.addEventListener("pointermove", (event) => {
    const bar = event.target.closest?.("[data-cells]");
    if (!bar) { tip.hidden = true; return; }
    const byDay = bar.dataset.from !== "", cells = bar.dataset.cells.split(byDay ? "," : "\n");
    const box = bar.getBoundingClientRect(), wide = byDay ? box.width : box.width * 8 * cells.length / bar.viewBox.baseVal.width;
    const index = Math.min(cells.length - 1, Math.max(0, Math.floor((event.clientX - box.left) / wide * cells.length)));
    const [gain, labels, ...name] = cells[index].split("/");
    const day = byDay ? new Date(Date.parse(bar.dataset.from) + index * 86400e3).toISOString().slice(0, 10) : name.join("/");
    tip.textContent = labels ? `${day}: ${gain} points, ${labels} ${labels === "1" ? "label" : "labels"}` : `${day}: no labels`;
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 10, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${box.bottom + 6}px`;
  }, { passive: true });

  // --- what came anew ------------------------------------------------------------------------------------------
  document.addEventListener("htmx:after:swap", () => { offerCopying(document); tellTimes(); });
  offerCopying(document);
})();
