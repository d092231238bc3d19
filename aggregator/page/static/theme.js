// Before anything is drawn: what this browser chose last, dark or light; else what the system says.
(() => {
  "use strict";
  try {
    const chosen = localStorage.getItem("headway-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch (error) {
    console.info("no storage here, the theme follows the system", error);
  }
})();
