// Draws accuracy over time from the figures in data-chart; the table below the chart has the same figures.
(() => {
  "use strict";
  const drawn = [];
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const marks = (list) => ({
    hooks: {
      draw: [(plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        let free = -Infinity;
        for (const mark of list) {
          const x = Math.round(plot.valToPos(mark.at, "x", true));
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.strokeStyle = mark.kind === "drift" ? token("--mark") : token("--line-strong");
          ctx.fillStyle = ctx.strokeStyle;
          ctx.lineWidth = devicePixelRatio;
          ctx.setLineDash(mark.kind === "drift" ? [] : [4 * devicePixelRatio, 3 * devicePixelRatio]);
          ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
          ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
          const right = x > bbox.left + bbox.width - 60 * devicePixelRatio;
          ctx.textAlign = right ? "right" : "left";
          const word = mark.kind === "drift" ? "drift" : "head", wide = ctx.measureText(word).width;
          const begins = right ? x - 4 * devicePixelRatio - wide : x + 4 * devicePixelRatio;
          // one word never lies on another; the line stands, and the table names it
          if (begins < free) continue;
          free = begins + wide + 4 * devicePixelRatio;
          ctx.fillText(word, x + (right ? -4 : 4) * devicePixelRatio, bbox.top + 11 * devicePixelRatio);
        }
        ctx.restore();
      }],
    },
  });

  const draw = (figure) => {
    const told = JSON.parse(figure.dataset.chart);
    const note = figure.parentElement.querySelector("[data-chart-note]");
    const plain = note ? note.textContent : "";
    const axis = { stroke: token("--ink-3"), grid: { stroke: token("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const low = Math.max(0, Math.floor((Math.min(...told.served, ...told.frozen) - 4) / 5) * 5);
    const line = (label, colour, width, dash) => ({ label, stroke: colour, width, dash, points: { show: told.at.length < 20, size: 5, fill: colour } });
    const options = {
      width: figure.clientWidth, height: Math.min(300, Math.max(200, figure.clientWidth * 0.32)),
      legend: { show: false }, tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      cursor: { y: false, points: { size: 7 } },
      scales: { y: { range: [low, 100] } },
      axes: [{ ...axis, space: 70, size: 32, values: (plot, ticks) => ticks.map((at) => new Date(at * 1e3).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" })) }, { ...axis, size: 48, values: (plot, ticks) => ticks.map((value) => `${value} %`) }],
      series: [{}, line("served", token("--served"), 2), line("frozen", token("--frozen"), 2, [5, 4])],
      plugins: [marks(told.marks)],
      hooks: {
        setCursor: [(plot) => {
          if (!note) return;
          const index = plot.cursor.idx;
          if (index === null || index === undefined) { note.textContent = plain; return; }
          const day = new Date(told.at[index] * 1e3).toISOString().slice(0, 10);
          const gain = told.served[index] - told.frozen[index];
          note.textContent = `${day}, week up to it: served ${told.served[index].toFixed(1)} %, frozen ${told.frozen[index].toFixed(1)} %, ${gain < 0 ? "−" : "+"}${Math.abs(gain).toFixed(1)} points`;
        }],
      },
    };
    figure.replaceChildren();
    return new uPlot(options, [told.at, told.served, told.frozen], figure);
  };

  const drawAll = () => {
    for (const plot of drawn.splice(0)) plot.destroy();
    for (const figure of document.querySelectorAll("[data-chart]")) drawn.push(draw(figure));
  };
  drawAll();
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 150); });
  document.addEventListener("headway:theme", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
