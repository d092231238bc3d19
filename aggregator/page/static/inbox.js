// The inbox by keys: 1 to 9 a class, 0 none of these, s skip, u undo. Without it the forms do the same.
(() => {
  "use strict";
  const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;
  const section = () => document.getElementById("window");

  const tell = (html) => {
    const place = section().querySelector("[data-said]");
    const answer = new DOMParser().parseFromString(html, "text/html").querySelector(".problem");
    place.className = "last problem";
    place.setAttribute("role", "alert");
    place.textContent = answer ? answer.textContent : html;
  };

  const send = async (form, button) => {
    const card = section();
    if (card.getAttribute("aria-busy") === "true") return;
    const fields = new URLSearchParams(new FormData(form, button));
    card.setAttribute("aria-busy", "true");
    button?.classList.add("chosen");
    let problem = "The server does not answer. Nothing is lost: try again, the same answer counts once.";
    try {
      const response = await fetch(form.action, {
        method: "POST", body: fields, headers: { "HX-Request": "true" }, credentials: "same-origin",
      });
      if (response.headers.has("HX-Redirect")) { location.assign(response.headers.get("HX-Redirect")); return; }
      const text = await response.text();
      if (response.ok) {
        const next = new DOMParser().parseFromString(text, "text/html").getElementById("window");
        card.replaceWith(next);
        htmx.process(next);
        document.dispatchEvent(new CustomEvent("htmx:after:swap"));
        next.querySelector("#window-title").focus({ preventScroll: true });
        const items = document.getElementById("items");
        if (items) htmx.trigger(items, "refresh");
        return;
      }
      problem = text;
    } catch (error) {
      console.info(error);
    }
    card.removeAttribute("aria-busy");
    button?.classList.remove("chosen");
    tell(problem);
  };

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-label]");
    if (!form || event.defaultPrevented) return;
    event.preventDefault();
    send(form, event.submitter);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented || typing(event.target)) return;
    const button = section()?.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
    if (!button) return;
    event.preventDefault();
    button.form.requestSubmit(button);
  });
})();
